"""What a dataset is: three splits of labelled pictures, and the input that a model of them takes.

A new dataset is one file with a `load` function, and one row in `DATASETS`.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from oddeven.runtime.errors import choose
from oddeven.runtime.spec import InputSpec

DATASETS: Mapping[str, str] = {
    "mnist": "oddeven.train.mnist",
}


@dataclass(frozen=True)
class Split:
    """Labelled pictures.

    Attributes:
        images: uint8 (N, height, width, channels).
        labels: uint8 (N,), 0 or 1.
        slices: str (N,), the group each picture is reported under, such as a digit or a camera.
        index: int64 (N,), the sample's number in the whole dataset, unique over all splits.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    slices: npt.NDArray[np.str_]
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: npt.NDArray[np.int64] | slice) -> Split:
        """The pictures at the positions `chosen`."""
        return Split(self.images[chosen], self.labels[chosen], self.slices[chosen], self.index[chosen])


@dataclass(frozen=True)
class Dataset:
    """A two-class task: `train` fits, `validation` chooses, `test` is looked at once per final model."""

    name: str
    sha256: str
    labels: tuple[str, str]
    input: InputSpec
    train: Split
    validation: Split
    test: Split


def load(name: str) -> Dataset:
    """The dataset called `name`.

    Raises:
        UsageError: no dataset has that name.
        DataError: its files are missing, damaged or not the ones expected.
    """
    module = importlib.import_module(DATASETS[choose("dataset", name, DATASETS)])
    return cast(Dataset, module.load())


def fingerprint(*arrays: npt.NDArray[np.generic]) -> str:
    """SHA-256 over the bytes of `arrays` in C order, as the licence note of a dataset lists them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
