"""What a bundle is made of, as other tools read it: a bill of materials for machine learning, in CycloneDX 1.6."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oddeven.runtime.artifacts.manifest import parity_of
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.files import sha256

BOM = "bom.json"


def bill_of_materials(found: Sequence[Path], wheels: Mapping[str, bytes]) -> bytes:
    """The bill for the model files `found` and `wheels`, by path; equal input gives equal bytes.

    CycloneDX's own Python library knows no model cards yet, and a device that makes a bundle does not have it.
    """
    models = [_model(path) for path in found]
    packages = [_package(name, content) for name, content in sorted(wheels.items())]
    needed = [package["bom-ref"] for package in packages]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [*models, *packages],
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": needed} for model in models],
    }
    return f"{json.dumps(document, indent=1, ensure_ascii=True)}\n".encode()


def _model(path: Path) -> dict[str, Any]:
    """The component of a model file, with a model card of what its spec and the manifest beside it say."""
    content, parity = path.read_bytes(), parity_of(path)
    with Classifier.load(path) as classifier:
        spec = classifier.spec
    facts = {
        "precision": spec.precision,
        "dataset-sha256": spec.provenance.dataset_sha256,
        "parity": parity.verdict if parity else "not in a manifest",
    }
    measured = {name: getattr(parity, name, None) for name in ("agreement", "accuracy", "drop_pp")}
    metrics = [{"type": name, "value": f"{value:.6g}"} for name, value in measured.items() if value is not None]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model/{path.name}",
        "name": path.name,
        "hashes": _hashes(content),
        "modelCard": {
            "modelParameters": {
                "task": "image-classification",
                "modelArchitecture": spec.name,
                "datasets": [{"type": "dataset", "name": spec.provenance.dataset}],
                "inputs": [{"format": f"image, {'x'.join(map(str, spec.input.shape))}"}],
                "outputs": [{"format": f"probability of {spec.labels[1]}, the other label being {spec.labels[0]}"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": metrics},
        },
        "properties": [{"name": f"oddeven:{name}", "value": value} for name, value in facts.items()],
    }


def _package(file: str, content: bytes) -> dict[str, Any]:
    """The component of a wheel."""
    name, version = Path(file).name.split("-")[:2]
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {
        "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "hashes": _hashes(content),
    }  # fmt: skip


def _hashes(content: bytes) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256(content)}]
