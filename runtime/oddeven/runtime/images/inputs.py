"""From what a caller gives, a file, its bytes, an array or a PIL image, to the pixels that a model takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.errors import BlankError, DataError
from oddeven.runtime.images.decode import pixels_of
from oddeven.runtime.images.preprocess import prepare, read
from oddeven.runtime.images.ready import checked
from oddeven.runtime.spec import InputSpec


class ArrayLike(Protocol):
    """A tensor of some other library."""

    def __array__(self) -> Array:
        """Its values."""
        ...


Picture = str | os.PathLike[str] | bytes | Pixels | Image.Image | ArrayLike | DataError


def prepared(picture: Picture, view: InputSpec, invert: str) -> Pixels:
    """`picture` as `view` wants it, uint8 of `view.shape`; errors as `Classifier.prepare`."""
    return prepare(decoded(picture, view.channels), view, invert)


def decoded(picture: Picture, channels: int) -> Pixels:
    """The pixels of `picture`, uint8 (height, width, channels).

    Raises:
        DataError: it cannot be decoded, it is nothing that could be, or it is a DataError itself.
    """
    if isinstance(picture, np.ndarray):
        return checked(picture, channels)
    if isinstance(picture, (str, os.PathLike)):
        return read(Path(os.fsdecode(picture)), channels)
    if isinstance(picture, bytes):
        return read(picture, channels)
    if isinstance(picture, Image.Image):
        return pixels_of(picture, channels)
    if isinstance(picture, DataError):
        raise picture
    if not hasattr(picture, "__array__"):
        raise DataError(
            "Expected a picture: a path, the bytes of a file, a PIL image, or an array of uint8 pixels, "
            f"got {type(picture).__name__}."
        )
    try:
        pixels = np.asarray(picture)
    except Exception as error:  # what a stranger's __array__ raises
        raise DataError(f"The given {type(picture).__name__} gives no array: {error}.") from error
    return checked(pixels, channels)


def light(chunk: Iterable[Picture], channels: int) -> list[Picture]:
    """What another process can be given: paths as strings, which it gets sooner, bytes and pixels."""
    return [_light(picture, channels) for picture in chunk]


def _light(picture: Picture, channels: int) -> Picture:
    if isinstance(picture, (str, bytes, np.ndarray)):
        return picture
    try:
        return os.fsdecode(picture) if isinstance(picture, os.PathLike) else decoded(picture, channels)
    except DataError as error:
        return error


def prepare_each(
    chunk: Iterable[Picture], view: InputSpec, invert: str, strict: bool
) -> tuple[Pixels, dict[int, DataError]]:
    """The pictures as `view` wants them, uint8 (N, H, W, C), and by position the errors of those that are left out.

    Raises:
        DataError: a picture cannot be used, and this is `strict`.
    """
    ready: list[Pixels] = []
    errors: dict[int, DataError] = {}
    for position, picture in enumerate(chunk):
        try:
            ready.append(prepared(picture, view, invert))
        except DataError as error:
            if strict and not isinstance(error, BlankError):
                raise
            errors[position] = error
    return np.stack(ready) if ready else np.empty((0, *view.shape), np.uint8), errors
