"""What a dataset is: three splits of labelled images, and the input that a model of them takes.

A new dataset is a function that gives a `Dataset`, and a row in `DATASETS`. An image folder with any two labels needs
neither, see `oddeven.train.data.image_folder`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Pixels, Probabilities
from oddeven.runtime.spec import InputSpec

SOURCE_FILE = "dataset.json"  # beside a model that was trained on an image folder: its ImageSource


@dataclass(frozen=True)
class Split:
    """Labelled images.

    Attributes:
        images: uint8 (N, height, width, channels).
        labels: uint8 (N,), 0 or 1.
        slices: str (N,), the slice each image is reported under, such as a digit or a camera.
        index: int64 (N,), the image's number in the whole dataset, unique over all splits.
    """

    images: Pixels
    labels: Labels
    slices: npt.NDArray[np.str_]
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: npt.NDArray[np.int64] | slice) -> Split:
        """The images at the positions `chosen`."""
        return Split(self.images[chosen], self.labels[chosen], self.slices[chosen], self.index[chosen])

    def mistakes(self, probabilities: Probabilities, threshold: float) -> npt.NDArray[np.int64]:
        """The positions of the images that are predicted wrongly, those furthest from `threshold` first.

        Args:
            probabilities: of label 1, float32 (N,).
            threshold: strictly above it the prediction is label 1.
        """
        wrong = np.flatnonzero((probabilities > threshold) != self.labels)
        return wrong[np.argsort(-np.abs(probabilities[wrong] - threshold), kind="stable")]


@dataclass(frozen=True)
class Dataset:
    """A two-class task: `train` fits, `validation` chooses, `test` is used once for each final model.

    Attributes:
        files: the path of each image by its number, for an image folder; empty for a named dataset.
        warnings: what is suspicious about the images, one sentence each.
    """

    name: str
    sha256: str
    labels: tuple[str, str]
    input: InputSpec
    train: Split
    validation: Split
    test: Split
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def image_name(self, number: int) -> str:
        """The name of the image's file, or such as `image 7` for one of a named dataset."""
        return Path(self.files[number]).name if self.files else f"image {number}"


@dataclass(frozen=True)
class ImageSource:
    """Where the images of a dataset are and how they are read; equal sources and equal files give equal datasets.

    Attributes:
        path: of an image folder or CSV file, see `oddeven.train.data.listing.read_listing`.
        input: what each image becomes.
        positive: the label that is 1; None for the second one by name.
        max_bad: the number of unusable images that is tolerated.
        seed: for drawing validation and test images, where the folder or file does not give them.
    """

    path: str
    input: InputSpec
    positive: str | None = None
    max_bad: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a path or a seed that cannot be one (ValueError)."""
        if not self.path or "\0" in self.path:
            raise ValueError(f"{self.path!r} is not a path.")
        if self.seed < 0:
            raise ValueError(f"the seed is {self.seed}; it must not be negative.")


def fingerprint(*arrays: npt.NDArray[np.generic]) -> str:
    """SHA-256 over the bytes of `arrays` in C order, as the licence note of a dataset lists them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
