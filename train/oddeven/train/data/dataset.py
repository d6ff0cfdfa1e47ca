"""What a dataset is: three splits of labelled pictures, and the input that a model of them takes.

A new dataset is one file with a `load` function, and one row in `DATASETS`; any two labels of photographs need
neither, see `oddeven.train.data.image_folder`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.spec import InputSpec

SOURCE_FILE = "dataset.json"  # beside a model that was trained on a picture set


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
    """A two-class task: `train` fits, `validation` chooses, `test` is looked at once per final model.

    Attributes:
        files: of a picture set, the path of each sample by its number; otherwise none.
        warnings: what its pictures make one doubt, one sentence each.
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


@dataclass(frozen=True)
class ImageSource:
    """Where a picture set lies and how it is read; equal sources and equal files give equal datasets.

    Attributes:
        path: of a folder or CSV file, see `oddeven.train.data.listing.read`.
        input: what each picture becomes.
        positive: the label that is 1; None for the second one by name.
        max_bad: so many pictures may be unusable.
        seed: of the draw of validation and test pictures, where the set does not give them.
    """

    path: str
    input: InputSpec
    positive: str | None = None
    max_bad: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what can be neither a path nor a seed (ValueError)."""
        if not self.path or "\0" in self.path:
            raise ValueError(f"{self.path!r} is no path.")
        if self.seed < 0:
            raise ValueError(f"the seed is {self.seed}; it must not be negative.")


def fingerprint(*arrays: npt.NDArray[np.generic]) -> str:
    """SHA-256 over the bytes of `arrays` in C order, as the licence note of a dataset lists them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
