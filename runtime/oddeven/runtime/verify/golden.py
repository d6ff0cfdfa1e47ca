"""The self-test: a few golden images, and what each model file predicted for them when it was made."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.registry import ENGINES
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import DAMAGED, read, replacing
from oddeven.runtime.spec import model_name

GOLDEN_SUFFIX = ".selftest.npz"
EACH = 4  # images of a label near the threshold, where arithmetic shows first, and as many from anywhere
IMAGES, FAMILIARITY = "images", "familiarity/"
# How far another CPU may be off. Eight bits: one step of the output. Quantized on the fly, and int8 in ONNX, whose last
# layer is in float: one step in each of three layers. Float: as the gate allows at the threshold.
TOLERANCES: Mapping[str, float] = {
    "int8": 1 / 255, "int16x8": 1 / 255, "dynamic": 3 / 255, "float16": 2**-6, "float32": 1e-5,
}  # fmt: skip
# Another engine rounds differently, so it may be off by one step of the sum under the sigmoid. Over the whole range
# that was seen, -50 to 50, a step is 0.4 in eight bits, and the slope of the sigmoid is at most a quarter.
STEP_OF_SUM = 0.1


@dataclass(frozen=True)
class Golden:
    """What a model's files must predict.

    Attributes:
        images: uint8 (N, H, W, C).
        answers: probability of label 1, float32 (N,), by the name of the model file.
        familiarities: float32 (N,), 0 to 1, of the files that tell them.
    """

    images: Pixels
    answers: dict[str, npt.NDArray[np.float32]]
    familiarities: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How far an engine is off the golden predictions, and how far it may be, or why it cannot load the file."""

    file: str
    engine: str
    largest: float
    allowed: float
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is within what is allowed."""
        return not self.reason and self.largest <= self.allowed


def choose_golden(reference: Reference, threshold: float) -> Pixels:
    """Up to `EACH` images of each label nearest to the threshold, and the first `EACH` of each label."""
    chosen: list[int] = []
    for label in (0, 1):
        own = np.flatnonzero(reference.truth == label)
        nearest = own[np.argsort(np.abs(reference.probabilities[own] - threshold), kind="stable")]
        chosen += [*nearest[:EACH].tolist(), *own[:EACH].tolist()]
    return reference.images[sorted(set(chosen))]


def golden_path(model: Path) -> Path:
    """Where the golden predictions of the model file `model` are: beside it."""
    return model.with_name(model_name(model) + GOLDEN_SUFFIX)


def save_golden(golden: Golden, path: Path) -> None:
    """Write `golden` as a compressed `.npz`.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        known = {FAMILIARITY + name: values for name, values in golden.familiarities.items()}
        arrays: dict[str, Any] = {IMAGES: golden.images, **golden.answers, **known}
        np.savez_compressed(file, **arrays)


def load_golden(path: Path) -> Golden:
    """Read what `save_golden` wrote; pickled arrays are refused.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(read(path)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        images, known = arrays.pop(IMAGES), [name for name in arrays if name.startswith(FAMILIARITY)]
        familiarities = {name.removeprefix(FAMILIARITY): arrays.pop(name) for name in known}
        golden = Golden(images, arrays, familiarities)
        _check_arrays(golden)
    except FileNotFoundError as error:
        raise ModelError(f"There is no {path}: copy it together with the model, or export the model again.") from error
    except DAMAGED as error:
        why = getattr(error, "strerror", None) or error
        raise ModelError(f"{path} holds no golden predictions ({why}); export the model again.") from error
    return golden


def _check_arrays(golden: Golden) -> None:
    """Refuse what cannot be images and their probabilities (ValueError)."""
    images = golden.images
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        raise ValueError(f"its images are {images.dtype} {images.shape}")
    for name, answers in (*golden.answers.items(), *golden.familiarities.items()):
        if answers.dtype != np.float32 or answers.shape != images.shape[:1]:
            raise ValueError(f"the predictions of {name} are {answers.dtype} {answers.shape}")
        if not ((answers >= 0) & (answers <= 1)).all():
            raise ValueError(f"the predictions of {name} are not from 0 to 1")


def check_golden(model: Path, engine: str) -> Outcome:
    """Run the file `model` on its golden images with `engine`.

    Raises:
        MissingPackageError: the engine is not installed.
        ModelError: there are no golden predictions for the file.
    """
    golden = load_golden(golden_path(model))
    if model.name not in golden.answers:
        raise ModelError(f"{golden_path(model)} holds no predictions of {model.name}; export the model again.")
    try:
        classifier = Classifier.load(model, engine)
    except ModelError as error:
        return Outcome(str(model), engine, 0.0, 0.0, str(error))
    with classifier:
        if classifier.spec.input.shape != golden.images.shape[1:]:
            raise ModelError(
                f"{golden_path(model)} holds images of shape {golden.images.shape[1:]}, {model} takes "
                f"{classifier.spec.input.shape}; export the model again."
            )
        p, familiarities = classifier.scores(golden.images)
        largest = float(np.abs(p - golden.answers[model.name]).max())
        if familiarities is not None and model.name in golden.familiarities:
            moved = float(np.abs(familiarities - golden.familiarities[model.name]).max())
            largest = max(largest, moved / _steepness(classifier))
        precision = classifier.spec.precision
        allowed = TOLERANCES["dynamic" if (precision, model.suffix) == ("int8", ".onnx") else precision]
        first = next(name for name, row in ENGINES.items() if row.reads(model))
        if classifier.engine.name != first and not precision.startswith("float"):
            allowed = STEP_OF_SUM
        return Outcome(str(model), classifier.engine.name, largest, allowed * (1 + 1e-5))


def _steepness(classifier: Classifier) -> float:
    """How much the familiarity moves at most where the raw score moves by its whole range."""
    meaning = classifier.spec.familiarity
    if meaning is None:
        return 1.0
    scores, shares = np.array(meaning.scores), np.array(meaning.shares)
    step = classifier.engine.familiarity.scale if classifier.engine.familiarity else 0.0
    whole = max(scores[-1] - scores[0], 255 * step)  # of eight bits, so that a step is one of 255
    return float((np.diff(shares) / np.diff(scores)).max() * whole)
