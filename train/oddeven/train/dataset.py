"""What a dataset is: three splits of labelled pictures, and the input that a model of them takes.

A new dataset is one file with a `load` function, and one row in `DATASETS`; any two labels of photographs need
neither, see `oddeven.train.pictures`.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from oddeven.runtime.errors import DataError, UsageError, choose
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import InputSpec, ModelSpec

DATASETS: Mapping[str, str] = {
    "mnist": "oddeven.train.mnist",
}
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
class Source:
    """Where a picture set lies and how it is read; equal sources and equal files give equal datasets.

    Attributes:
        path: of a folder or CSV file, see `oddeven.train.listing.read`.
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


@cache
def load(name: str) -> Dataset:
    """The dataset called `name`, read once.

    Raises:
        UsageError: no dataset has that name.
        DataError: its files are missing, damaged or not the ones expected.
    """
    module = importlib.import_module(DATASETS[choose("dataset", name, DATASETS)])
    return cast(Dataset, module.load())


def trained_on(model: Path, spec: ModelSpec, data: Path | None = None) -> Dataset:
    """The dataset that the Keras model in the file `model` was trained on.

    Args:
        model: beside it lies `SOURCE_FILE` where it was trained on a picture set.
        spec: of the model.
        data: where the picture set lies, if it is not where it was.

    Raises:
        UsageError: nothing says where its pictures are.
        DataError: they are not the ones it was trained on.
    """
    from oddeven.train import pictures

    record = model.with_name(SOURCE_FILE)
    if record.is_file():
        source = from_json(Source, record.read_bytes(), str(record))
        dataset = pictures.load(source if data is None else replace(source, path=str(data)))
    elif data is not None:
        dataset = pictures.load(Source(str(data), spec.input, spec.labels[1]))
    elif spec.provenance.dataset in DATASETS:
        dataset = load(spec.provenance.dataset)
    else:
        raise UsageError(
            f"{model} was trained on the picture set {spec.provenance.dataset!r}, and no {record.name} lies beside it; "
            "say where its pictures are with --data PATH."
        )
    if dataset.sha256 != spec.provenance.dataset_sha256:
        raise DataError(
            f"{model} was trained on another {spec.provenance.dataset} than the one at hand: its pictures, labels or "
            "splits are not the same; give the same files, or train anew."
        )
    return dataset


def fingerprint(*arrays: npt.NDArray[np.generic]) -> str:
    """SHA-256 over the bytes of `arrays` in C order, as the licence note of a dataset lists them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
