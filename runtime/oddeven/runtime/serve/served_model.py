"""The models that a server has open, by the names that clients use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.latency import median_us
from oddeven.runtime.engines.registry import engine_version
from oddeven.runtime.errors import UsageError
from oddeven.runtime.files import sha256


@dataclass(frozen=True)
class ServedModel:
    """An open model.

    Attributes:
        name: its spec's, or, where two models share that, its file's.
        image_us: how long its engine takes for one ready image.
        facts: what `/metrics` tells of it.
    """

    name: str
    classifier: Classifier
    image_us: float
    facts: Mapping[str, str]


def open_models(models: Sequence[str | None], engine: str) -> dict[str, ServedModel]:
    """Open each of `models`, as `Classifier.load` takes them, in their order.

    Raises:
        UsageError: the same file is given twice, or as `Classifier.load`.
        ModelError, MissingPackageError: as `Classifier.load`.
    """
    opened = [(path, Classifier.load(path, engine)) for path in map(locate, models)]
    names = [classifier.spec.name for _, classifier in opened]
    served: dict[str, ServedModel] = {}
    for path, classifier in opened:
        name = classifier.spec.name
        name = name if names.count(name) == 1 else path.name
        if name in served:
            raise UsageError(f"Two of the models are called {name}; give each once.")
        served[name] = ServedModel(name, classifier, _image_us(classifier), _facts(path, classifier))
    return served


def _image_us(classifier: Classifier) -> float:
    return median_us(classifier.engine, classifier.encode(np.zeros((1, *classifier.spec.input.shape), np.uint8)))


def _facts(path: Path, classifier: Classifier) -> dict[str, str]:
    return {
        "engine": classifier.engine.name,
        "engine_version": engine_version(classifier.engine.name),
        "precision": classifier.spec.precision,
        "sha256": sha256(path.read_bytes()),
    }
