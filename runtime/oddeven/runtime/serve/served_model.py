"""The models that a server has open, by the names that clients use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.latency import median_us
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
        spec, running = classifier.spec, classifier.engine
        name = spec.name if names.count(spec.name) == 1 else path.name
        if name in served:
            raise UsageError(f"Two of the models are called {name}; give each once.")
        image = classifier.encode(np.zeros((1, *spec.input.shape), np.uint8))
        facts = {
            "engine": running.name, "engine_version": running.version, "precision": spec.precision,
            "sha256": sha256(path.read_bytes()),
        }  # fmt: skip
        served[name] = ServedModel(name, classifier, median_us(running, image), facts)
    return served
