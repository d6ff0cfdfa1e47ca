"""ModelSpec: what a model predicts, which input it takes, and where it came from.

It is the only thing that the training side tells the runtime. Nothing in it is about digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

POLARITIES = ("any", "light-on-dark", "dark-on-light")
LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")  # the form of a BCP 47 tag
RESERVED = ("uncertain", "unknown", "unreadable")  # what is said of an image instead of a label
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")


def plain(name: str) -> bool:
    """Whether `name`, read from a file, may be that of a file or folder: it leads nowhere else and is not hidden."""
    return bool(name) and name.isprintable() and not name.startswith(".") and "/" not in name and "\\" not in name


def label_fault(names: Iterable[str]) -> str:
    """Why not all of `names` can be labels of a new model, as a sentence; empty where they can."""
    names = list(names)
    for name in names:
        if not name.isprintable() or not name or "/" in name:
            return f"{name!r} cannot be a label: it must be printable, without a slash; rename it."
        if name.casefold() in RESERVED:
            return f"{name!r} cannot be a label: predictions say so where there is none; rename it."
    if len({name.casefold() for name in names}) < len(names):
        return f"Labels differ only in case ({', '.join(map(repr, names[:8]))}); make them one, or rename them."
    return ""


def model_name(path: Path) -> str:
    """The model's name in `<model>.<precision><suffix>`, the name of an exported file; it may hold dots of its own."""
    stem = path.stem.removesuffix(".mediapipe")
    name, _, precision = stem.rpartition(".")
    return name if precision in PRECISIONS and name else path.stem


@dataclass(frozen=True)
class InputSpec:
    """The image that the model takes.

    Attributes:
        height, width: in pixels.
        channels: 1 for grey, 3 for RGB.
        low, high: the real values that pixel 0 and pixel 255 stand for, usually 0.0 and 1.0.
        polarity: `light-on-dark`, `dark-on-light`, or `any` where it does not matter.
        preprocessing: a name in `oddeven.runtime.images.preprocess.PREPROCESSINGS`.
        parameters: numbers that the preprocessing takes, by name.
    """

    height: int
    width: int
    channels: int
    low: float = 0.0
    high: float = 1.0
    polarity: str = "any"
    preprocessing: str = "squash"
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no image can have (ValueError)."""
        if min(self.height, self.width) < 1:
            raise ValueError(f"the input is {self.height}x{self.width}; both sides must be at least 1.")
        if self.channels not in (1, 3):
            raise ValueError(f"the input has {self.channels} channels; 1 (grey) and 3 (RGB) are supported.")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"the value range {self.low} to {self.high} is not a range.")
        for name, value in self.parameters.items():
            if not math.isfinite(value):
                raise ValueError(f"the parameter {name} is {value}; expected a finite number.")
        if self.polarity not in POLARITIES:
            raise ValueError(f"unknown polarity {self.polarity!r}; known are {', '.join(POLARITIES)}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class Provenance:
    """Where the weights came from; two training runs with equal provenance are the same run.

    Attributes:
        dataset: its name.
        dataset_sha256: hash of all its images and labels.
        recipe: name of the recipe, with `(quick)` behind it for a smoke run.
        epochs, seed: as trained.
        versions: package name to version.
    """

    dataset: str
    dataset_sha256: str
    recipe: str
    epochs: int
    seed: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Calibration:
    """The images that set the quantized ranges.

    Attributes:
        source: dataset and split they were drawn from.
        sha256: hash of their pixels.
        count: how many.
        class_counts: how many of each label.
        seed: of the draw.
    """

    source: str
    sha256: str
    count: int
    class_counts: tuple[int, int]
    seed: int


@dataclass(frozen=True)
class Familiarity:
    """What the raw score of a model's second output means: points of a piecewise linear function.

    Attributes:
        scores: raw scores, rising.
        shares: the share of validation images that score less, for each of `scores`; rising, 0 to 1.
    """

    scores: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no rising function from scores to shares (ValueError)."""
        points = list(zip(self.scores, self.shares, strict=True))
        rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(points))  # NaN is not less
        if len(points) < 2 or not (rising and points[0][1] >= 0.0 and points[-1][1] <= 1.0):
            raise ValueError(f"the scores {self.scores[:3]} and shares {self.shares[:3]} ... do not rise together.")


@dataclass(frozen=True)
class ModelSpec:
    """Everything a runtime must know of a model besides its weights.

    Attributes:
        name: the architecture, or whatever its maker called it.
        labels: the names of labels 0 and 1.
        threshold: label 1 is predicted where its probability is strictly above this; between 0 and 1.
        precision: one of `PRECISIONS`.
        calibration: None for a file that needed none.
        display_names: the names of the labels in other languages, by BCP 47 tag such as `ko` or `pt-BR`.
        min_familiarity: a less familiar image is called unknown, 0 to 1; 0 calls none so.
        familiarity: None for a file that has no such output.
    """

    name: str
    labels: tuple[str, str]
    input: InputSpec
    provenance: Provenance
    threshold: float = 0.5
    precision: str = "float32"
    calibration: Calibration | None = None
    display_names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    min_familiarity: float = 0.0
    familiarity: Familiarity | None = None
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a spec that no model can have (ValueError)."""
        if not plain(self.name):
            raise ValueError(f"the model name {self.name!r} cannot be part of a file name.")
        if self.labels[0] == self.labels[1] or not all(self.labels):
            raise ValueError(f"the labels {self.labels[0]!r} and {self.labels[1]!r} must be two different words.")
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"the threshold {self.threshold} must lie between 0 and 1.")
        if not 0.0 <= self.min_familiarity < 1.0:
            raise ValueError(f"the least familiarity {self.min_familiarity} must be at least 0 and below 1.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; known are {', '.join(PRECISIONS)}.")
        for locale, names in self.display_names.items():
            if not LOCALE.fullmatch(locale):
                raise ValueError(f"the locale {locale!r} is no BCP 47 tag, such as ko or pt-BR.")
            if names[0] == names[1] or not all(name and name.isprintable() for name in names):
                raise ValueError(f"the names {names[0]!r} and {names[1]!r} for {locale} must be two different words.")
