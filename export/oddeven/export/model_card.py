"""The model card: `README.md` of an artifact folder, as the Hugging Face Hub reads it and a person too."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oddeven.export.conversion import About
from oddeven.export.onnx_model import OnnxModel
from oddeven.runtime.artifacts.manifest import FileRecord, Manifest
from oddeven.runtime.device.host_info import cpu_name
from oddeven.runtime.engines.registry import holds_code
from oddeven.runtime.errors import extra, needing
from oddeven.runtime.parity.statistics import share_limits
from oddeven.runtime.table import shown
from oddeven.runtime.verify.render.markdown import escape
from oddeven.runtime.verify.report import FileReport

CARD = "README.md"
TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"
ONE_SIDED = 0.975  # twice what is left is outside an interval of 95 %
WORST = 3  # slices that are named


def model_card(manifest: Manifest, reports: Sequence[FileReport], model: Any, about: About) -> str:
    """The card of an artifact folder.

    Args:
        manifest: of the folder.
        reports: of its files, in the manifest's order.
        model: what the files were made from, a Keras model or an `OnnxModel`.
        about: what its maker says; what is not said is named as missing.

    Raises:
        MissingPackageError: huggingface_hub or Jinja2 is not installed.
    """
    with needing("The model card", extra("export")):
        from huggingface_hub import EvalResult, ModelCard, ModelCardData
    spec, trained_on = manifest.spec, manifest.spec.provenance
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=trained_on.dataset,
            dataset_name=trained_on.dataset,
            dataset_split="test",
            metric_type="accuracy",
            metric_name=f"accuracy of {record.file}",
            metric_value=record.parity.accuracy,
        )
        for record in manifest.files
        if record.parity.accuracy is not None
    ]
    data = ModelCardData(
        library_name="oddeven",
        pipeline_tag="image-classification",
        license=about.license or None,
        tags=sorted({record.file.rpartition(".")[2] for record in manifest.files}),
        model_name=spec.name,
        eval_results=results or None,
    )
    weights = _weights(model)
    example = min((record.file for record in manifest.files), key=lambda file: holds_code(Path(file)))
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        spec=spec,
        about=about,
        manifest=manifest,
        layers=Counter(kind for kind, _ in weights),
        parameters=sum(count for _, count in weights),
        count=reports[0].parity.count,
        machine=cpu_name(),
        files=[_row(record, report) for record, report in zip(manifest.files, reports, strict=True)],
        slices=_worst_slices(reports[0]),
        escape=escape,
        extra="[onnx]" if example.endswith(".onnx") else "",
        example=shlex.quote(example) + " --engine c" * holds_code(Path(example)),
    )
    return f"{card}\n"


def _weights(model: Any) -> list[tuple[str, int]]:
    """The kind of each layer with weights, and how many it has."""
    if isinstance(model, OnnxModel):
        return model.weights()
    return [(type(layer).__name__, layer.count_params()) for layer in model.layers if layer.weights]


def _row(record: FileRecord, report: FileReport) -> dict[str, str]:
    parity = record.parity
    interval = ""
    if parity.accuracy is not None:
        low, high = share_limits(round(parity.accuracy * parity.count), parity.count, ONE_SIDED)
        interval = f" ({low:.2%} to {high:.2%})"
    return {
        "file": record.file,
        "size": f"{record.size_bytes:,}",
        "accuracy": f"{shown(parity.accuracy, '.2%')}{interval}",
        "agreement": f"{parity.agreement:.2%}",
        "latency": f"{report.latency_us:.0f}",
        "engine": report.engine,
        "verdict": report.verdict,
        "sha256": record.sha256,
    }


def _worst_slices(report: FileReport) -> list[str]:
    """The slices with the least accuracy of those below the whole, as `9 (99.01% of 1,009)`."""
    parity = report.parity
    known = [(found.accuracy, found) for found in parity.slices if found.accuracy is not None]
    below = [(accuracy, found) for accuracy, found in known if accuracy < (parity.accuracy or 0.0)]
    worst = sorted(below, key=lambda pair: pair[0])[:WORST]
    return [f"{found.name} ({accuracy:.2%} of {found.count:,})" for accuracy, found in worst]
