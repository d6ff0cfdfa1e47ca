"""Pixels that are given instead of a file: whether they are pixels, and whether a model can take them as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.errors import DataError

UINT8 = np.dtype(np.uint8)
DARK = 64
BRIGHT = 128  # what `bytes.isascii` tells from the rest, some thirty times as fast as NumPy's `max`


def plain(picture: Array, row: int) -> bool:
    """Whether `picture`, with `row` values in a row, is uint8, bright on dark and not blank, so that no preprocessing
    would do anything but resize it: its corners are dark, and something is bright. Takes a quarter of a microsecond."""
    if picture.dtype != UINT8:
        return False
    pixels = picture.tobytes()
    # DARK is a power of two, so bits that are set in no corner under it stay under it together.
    return not pixels.isascii() and (pixels[0] | pixels[row - 1] | pixels[-row] | pixels[-1]) < DARK


def all_plain(pictures: Pixels) -> bool:
    """Whether each of `pictures`, uint8 (N, H, W, C), is `plain`."""
    row = pictures.shape[2] * pictures.shape[3]
    pixels = pictures.reshape(len(pictures), -1)
    return bool(pixels[:, [0, row - 1, -row, -1]].max() < DARK and pixels.max(axis=1).min() >= BRIGHT)


def checked(picture: Any, channels: int) -> Pixels:
    """`picture`, uint8 (H, W) or (H, W, channels), with its channel dimension.

    Raises:
        DataError: it is anything else.
    """
    pixels: Pixels = picture[..., np.newaxis] if picture.ndim == 2 else picture
    fits = pixels.ndim == 3 and pixels.shape[-1] == channels and pixels.size > 0
    if pixels.dtype == UINT8 and fits:
        return pixels
    raise DataError(
        f"Expected uint8 pixels (height, width, {channels}) from 0 to 255, got {picture.dtype} {picture.shape}"
        f"{_scale(picture) if fits else ''}."
    )


def _scale(picture: Array) -> str:
    """What seems wrong with the values of a picture of the right shape, and what mends it."""
    if picture.dtype.kind not in "fiu":
        return ""
    if not np.isfinite(picture).all():
        return " with values that are not finite"
    low, high = picture.min(), picture.max()
    mend = "round and convert them with .astype('uint8')"
    if picture.dtype.kind == "f" and low >= 0 and high <= 1:
        mend = "multiply them by 255 first, then " + mend
    return f" with values from {low:g} to {high:g}; {mend}"
