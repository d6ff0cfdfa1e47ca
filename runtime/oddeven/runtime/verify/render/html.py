"""HTML pages from Jinja2 templates: the report, and the matrix of several machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.images.encode import to_png_base64
from oddeven.runtime.page import render_page
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.parity.compare import Change
from oddeven.runtime.parity.known import KnownParity
from oddeven.runtime.parity.statistics import share_limits
from oddeven.runtime.table import shown
from oddeven.runtime.verify.baseline import unpack
from oddeven.runtime.verify.merge import NOTE, TITLE, Matrix
from oddeven.runtime.verify.recommendation import advice, by_model, front, recommend
from oddeven.runtime.verify.render.markdown import HEADER, facts, summary
from oddeven.runtime.verify.render.plot import lay_out
from oddeven.runtime.verify.report import FileReport, Report

TEMPLATES = Path(__file__).parent / "templates"
MAX_IMAGES = 200
STATISTICS = ("model", "format", "engine", "McNemar p", "AUC reference", "AUC", "log loss reference", "log loss",
              "calibration error reference", "calibration error", "max Δp", "mean Δp", "lost", "won",
              "change at most")  # fmt: skip

FRONT = ("file", "bytes", "us", "accuracy", "95 % interval")
KNOWN = ("format", "engine", "unknown", "unknown to the reference", "changed", "changed, interval")


class ChangedBy(NamedTuple):
    """A changed prediction, the format of the file that changed it, and the label that this file predicts."""

    format: str
    label: int
    change: Change


@dataclass(frozen=True)
class ModelSection:
    """What the page shows of one model, image by image and slice by slice."""

    name: str
    labels: tuple[str, str]
    images: Pixels
    changed: list[list[ChangedBy]]
    slices_header: list[str]
    slices: list[tuple[str, ...]]
    known: list[FileReport]
    known_rows: list[tuple[str, ...]]


def to_html(report: Report, references: Mapping[str, Reference]) -> str:
    """The page: verdicts, sizes, statistics, and every image whose prediction changed.

    Args:
        references: of every file in the report, by their `data_sha256`; their images are shown.

    Raises:
        MissingPackageError: Jinja2 is not installed.
    """
    models, best = by_model(report.files), front(report.files)
    return render_page(
        TEMPLATES / "report.html",
        report=report,
        passed=sum(file.verdict == PASS for file in report.files),
        recommendations=recommend(report.files),
        summary_header=HEADER,
        summary=summary(report),
        layer_rows=lambda file: [(layer.layer, f"{layer.error:.2%}") for layer in file.layers],
        notes=[(file, note) for file in report.files for note in file.notes],
        plot=lay_out(models.values()) if models else None,
        front_header=FRONT,
        front=[_front(file) for file in best],
        advice=advice(best) if best else "",
        statistics_header=STATISTICS,
        statistics=[_statistics(name, file) for name, files in models.items() for file in files],
        models={name: _section(name, own, references[own[0].data_sha256].images) for name, own in models.items()},
        max_images=MAX_IMAGES,
        known_header=KNOWN,
        facts=facts(report),
        png=partial(to_png_base64, optimize=True),
    )


def matrices_to_html(matrices: Sequence[Matrix]) -> str:
    """The matrices as heat maps: the darker, the more predictions differ.

    Raises:
        MissingPackageError: Jinja2 is not installed.
    """
    return render_page(TEMPLATES / "matrices.html", title=TITLE, note=NOTE, matrices=matrices)


def _statistics(name: str, file: FileReport) -> tuple[str, ...]:
    parity = file.parity
    metrics = [
        shown(getattr(own, kind, None), ".5f")
        for kind in ("auc", "log_loss", "calibration_error")
        for own in (parity.reference, parity.file)
    ]
    return (name, file.format, file.engine, shown(parity.mcnemar_p, ".3g"), *metrics, f"{parity.max_shift:.2g}",
            f"{parity.mean_shift:.2g}", shown(parity.right_to_wrong, "d"), shown(parity.wrong_to_right, "d"),
            f"{parity.changed_high:.2%}")  # fmt: skip


def _front(file: FileReport) -> tuple[str, ...]:
    parity = file.parity
    limits = ""
    if parity.accuracy is not None:
        low, high = share_limits(round(parity.accuracy * parity.count), parity.count, 0.975)
        limits = f"{low:.4f} to {high:.4f}"
    return file.file, f"{file.size_bytes:,}", f"{file.latency_us:.1f}", shown(parity.accuracy, ".4f"), limits


def _known(file: FileReport, known: KnownParity) -> tuple[str, ...]:
    interval = f"{known.changed_low:.2%} to {known.changed_high:.2%}"
    return (file.format, file.engine, f"{known.unknown:.2%}", f"{known.reference_unknown:.2%}", str(known.changed),
            interval)  # fmt: skip


def _section(name: str, files: Sequence[FileReport], images: Pixels) -> ModelSection:
    header = ["slice", "count", "reference accuracy"]
    header += [f"{file.format} {what}" for file in files for what in ("drop pp", "agreement")]
    rows = []
    for group in zip(*(file.parity.slices for file in files), strict=True):
        pairs = (text for own in group for text in (shown(own.drop_pp, "+.2f"), f"{own.agreement:.2%}"))
        rows.append((group[0].name, f"{group[0].count:,}", shown(group[0].reference_accuracy, ".4f"), *pairs))
    known = [file for file in files if file.known]
    known_rows = [_known(file, file.known) for file in files if file.known]
    return ModelSection(name, files[0].labels, images, _changed(files), header, rows, known, known_rows)


def _changed(files: Sequence[FileReport]) -> list[list[ChangedBy]]:
    """The changes of every changed image, the image nearest to the threshold first."""
    images: dict[int, list[ChangedBy]] = {}
    for file in files:
        predicted = unpack(file.answers, file)
        for change in file.parity.changes:
            label = int(predicted[change.position])
            images.setdefault(change.position, []).append(ChangedBy(file.format, label, change))
    changes = [found.change for group in images.values() for found in group]
    # A report holds no threshold, but every change straddles it: one half, unless that is not between them all.
    low = max((min(change.reference, change.answer) for change in changes), default=0.0)
    high = min((max(change.reference, change.answer) for change in changes), default=1.0)
    threshold = min(max(0.5, low), high)
    return sorted(images.values(), key=lambda group: abs(group[0].change.reference - threshold))
