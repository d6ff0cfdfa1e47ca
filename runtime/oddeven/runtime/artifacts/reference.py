"""The reference: images, their labels and the Keras model's probabilities, so that a device can check itself."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Familiarities, Labels, Pixels, Probabilities
from oddeven.runtime.errors import DataError, ModelError
from oddeven.runtime.files import DAMAGED, read, replacing, sha256

REFERENCE = "reference.npz"
VALIDATION = "validation.npz"
ARRAYS: Mapping[str, tuple[type[np.generic], int]] = {  # dtype and number of dimensions
    "images": (np.uint8, 4), "labels": (np.uint8, 1), "slices": (np.str_, 1), "probabilities": (np.float32, 1),
    "familiarities": (np.float32, 1),
}  # fmt: skip
OPTIONAL = ("labels", "familiarities")


@dataclass(frozen=True)
class Reference:
    """What parity is measured against.

    Attributes:
        images: uint8 (N, H, W, C), as the model takes them.
        labels: uint8 (N,), 0 or 1; None where they are not known.
        slices: str (N,), the group each image is reported under.
        probabilities: the Keras model's, of label 1, float32 (N,).
        dataset_sha256: of the dataset, as in the model's provenance.
        familiarities: the Keras model's, float32 (N,), 0 to 1; None where it gives none.
    """

    images: Pixels
    labels: Labels | None
    slices: npt.NDArray[np.str_]
    probabilities: Probabilities
    dataset_sha256: str
    familiarities: Familiarities | None = None

    @property
    def data_sha256(self) -> str:
        """Of the images, and of the labels where they are known."""
        return sha256(self.images.tobytes() + (b"" if self.labels is None else self.labels.tobytes()))

    @property
    def truth(self) -> Labels:
        """The labels, for work that needs them.

        Raises:
            DataError: they are not known.
        """
        if self.labels is None:
            raise DataError("These images have no labels, and this needs them: take a reference that holds labels.")
        return self.labels


def save_reference(reference: Reference, path: Path) -> None:
    """Write `reference` as a compressed `.npz`.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **{name: value for name, value in vars(reference).items() if value is not None})


def load_reference(path: Path) -> Reference:
    """Read what `save_reference` wrote; pickled arrays are refused. `OPTIONAL` arrays may be absent.

    Raises:
        ModelError: the file is missing, damaged, or its arrays do not fit together.
    """
    try:
        with np.load(io.BytesIO(read(path)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS if name not in OPTIONAL or name in file}
            reference = Reference(**{"labels": None, **arrays}, dataset_sha256=str(file["dataset_sha256"]))
    except DAMAGED as error:
        raise ModelError(f"{path} is not a readable reference ({error}); export the model again.") from error
    count = reference.probabilities.size
    for name, array in arrays.items():
        kind, dimensions = ARRAYS[name]
        fits = issubclass(array.dtype.type, kind) and array.ndim == dimensions and len(array) == count > 0
        if not fits or not array.size:
            raise ModelError(
                f"{path}: {name} is {array.dtype} {array.shape}, which does not fit the other arrays; "
                "export the model again."
            )
        if name not in ("images", "slices") and not ((array >= 0) & (array <= 1)).all():
            raise ModelError(f"{path}: {name} holds values that are not between 0 and 1; export the model again.")
    return reference
