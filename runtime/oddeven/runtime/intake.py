"""From what a caller gives, a file, its bytes or an array, to the pixels that a model takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from oddeven.runtime.errors import BlankError, DataError
from oddeven.runtime.image import prepare, read
from oddeven.runtime.ready import checked
from oddeven.runtime.spec import InputSpec
from oddeven.runtime.tensor import Pixels

Picture = str | Path | bytes | Pixels


def prepared(picture: Picture, view: InputSpec, invert: str) -> Pixels:
    """`picture` as `view` wants it, uint8 of `view.shape`; errors as `Classifier.prepare`."""
    if isinstance(picture, np.ndarray):
        pixels = checked(picture, view.channels)
    else:
        pixels = read(picture if isinstance(picture, bytes) else Path(picture), view.channels)
    return prepare(pixels, view, invert)


def light(chunk: Iterable[Picture]) -> list[Picture]:
    """With paths as strings, which reach another process sooner."""
    return [str(picture) if isinstance(picture, Path) else picture for picture in chunk]


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
