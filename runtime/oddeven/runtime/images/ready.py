"""Images that already are as a model takes them: of its size, bright on dark. They skip the preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.decode import UINT8
from oddeven.runtime.spec import InputSpec

DARK = 64
BRIGHT = 128  # what `bytes.isascii` tells from the rest, some thirty times as fast as NumPy's `max`


class ReadyImages:
    """Finds the images that `spec` and `invert` leave as they are, at most with another number of dimensions."""

    def __init__(self, spec: InputSpec, invert: str) -> None:
        self._shape = spec.shape
        self._row = spec.width * spec.channels
        # The shapes that may need no preprocessing, and the index that makes a batch of one.
        self._batch: dict[tuple[int, ...], Any] = {}
        if invert != "yes" and spec.polarity != "dark-on-light":
            self._batch[spec.shape] = (np.newaxis,)
            if spec.channels == 1:
                self._batch[spec.shape[:2]] = (np.newaxis, ..., np.newaxis)

    def one(self, image: object) -> Pixels | None:
        """`image` as a batch of one, uint8 (1, *spec.shape), or None if it may need preprocessing."""
        if isinstance(image, np.ndarray) and (batch := self._batch.get(image.shape)) and is_ready(image, self._row):
            pixels: Pixels = image[batch]
            return pixels
        return None

    def stack(self, images: Any) -> Pixels | None:
        """`images`, an array or a list, as uint8 (N, *spec.shape), or None if one of them may need preprocessing."""
        if isinstance(images, np.ndarray):
            stacked = images
        else:
            if not all(isinstance(image, np.ndarray) and image.shape in self._batch for image in images):
                return None
            stacked = np.concatenate([image[self._batch[image.shape]] for image in images])
        if stacked.shape[1:] not in self._batch or stacked.dtype != np.uint8:
            return None
        stacked = stacked.reshape(-1, *self._shape)
        return stacked if _all_ready(stacked) else None


def check_ready(pixels: Pixels, shape: tuple[int, int, int]) -> None:
    """Refuse what is not uint8 (N, *shape) (DataError)."""
    if pixels.shape[1:] != shape or pixels.dtype != UINT8:
        raise DataError(
            f"Expected ready pixels, uint8 (N, {', '.join(map(str, shape))}), got {pixels.dtype} {pixels.shape}; "
            "predict and predict_batch take other images."
        )


def is_ready(image: Array, row: int) -> bool:
    """Whether `image`, with `row` values in a row, is uint8, bright on dark and not blank, so that preprocessing would
    at most resize it: its corners are dark, and something is bright. Takes a quarter of a microsecond."""
    if image.dtype != UINT8:
        return False
    pixels = image.tobytes()
    # DARK is a power of two, so corners below it stay below it when their bits are joined.
    return not pixels.isascii() and (pixels[0] | pixels[row - 1] | pixels[-row] | pixels[-1]) < DARK


def _all_ready(images: Pixels) -> bool:
    """Whether `is_ready` holds for each of `images`, uint8 (N, H, W, C)."""
    row = images.shape[2] * images.shape[3]
    pixels = images.reshape(len(images), -1)
    return bool(pixels[:, [0, row - 1, -row, -1]].max() < DARK and pixels.max(axis=1).min() >= BRIGHT)
