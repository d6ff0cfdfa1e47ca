"""From decoded pixels of any size to those a model takes, by the preprocessing that its spec names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import BlankError, DataError, choose
from oddeven.runtime.images.decode import ImageLike, decode_image
from oddeven.runtime.images.encode import to_image
from oddeven.runtime.images.foreground import Floats, find_foreground, middle
from oddeven.runtime.images.ready import is_ready
from oddeven.runtime.spec import InputSpec

INVERSIONS = ("auto", "yes", "no")
STROKE_PART = 20 / 28  # of the image's shorter side: what MNIST's digits fill


def prepare(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """A decoded image as the model takes it: uint8 (H, W, C) of any size in, of `spec.shape` out.

    Args:
        invert: whether the image is the negative of what `spec.polarity` asks for; `auto` finds out.

    Raises:
        BlankError: the image is blank.
        DataError: the image is not of the size that `raw` needs.
        UsageError: there is no such preprocessing or inversion.
    """
    if spec.preprocessing not in PREPROCESSINGS or invert not in INVERSIONS:
        choose("inversion", invert, INVERSIONS)
        choose("preprocessing", spec.preprocessing, PREPROCESSINGS)
    return PREPROCESSINGS[spec.preprocessing](pixels, spec, invert)


def to_float(pixels: Pixels, spec: InputSpec) -> npt.NDArray[np.float32]:
    """uint8 pixels as the float32 values that the model was trained on: 0 is `spec.low`, 255 is `spec.high`."""
    values = pixels.astype(np.float32)
    values *= (spec.high - spec.low) / 255.0
    values += spec.low
    return values


def prepare_each(
    chunk: Iterable[ImageLike], spec: InputSpec, invert: str, strict: bool
) -> tuple[Pixels, dict[int, DataError]]:
    """The images as the model takes them, uint8 (N, H, W, C), and by position the errors of those that are left out.

    Raises:
        DataError: an image cannot be used, and this is `strict`.
    """
    ready: list[Pixels] = []
    errors: dict[int, DataError] = {}
    for position, image in enumerate(chunk):
        try:
            ready.append(prepare(decode_image(image, spec.channels), spec, invert))
        except DataError as error:
            if strict and not isinstance(error, BlankError):
                raise
            errors[position] = error
    return np.stack(ready) if ready else np.empty((0, *spec.shape), np.uint8), errors


def with_path(path: Path, error: DataError) -> str:
    """What is wrong with the image at `path`, which only an error of reading it names."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def raw(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """The image as it is, which must have the model's size; inverted only where that is asked for."""
    if pixels.shape != spec.shape:
        raise DataError(
            f"The preprocessing raw takes pixels of {spec.shape} (height, width, channels), got {pixels.shape}; "
            "name another preprocessing, or resize the image."
        )
    return _with_polarity(pixels, spec, "no" if invert == "auto" else invert)


def squash(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Resize to the model's size, without keeping the aspect ratio."""
    return _resize(_with_polarity(pixels, spec, invert), spec.height, spec.width)


def fit_shortest(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Scale until the image just covers the model's size, and crop its centre."""
    from PIL import ImageOps  # slow to import, and rarely needed

    image = to_image(_with_polarity(pixels, spec, invert))
    return _to_pixels(ImageOps.fit(image, (spec.width, spec.height), Image.Resampling.LANCZOS))


def fit_longest(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Scale until the image just fits into the model's size, and pad it with the tone of its border."""
    pixels = _with_polarity(pixels, spec, invert)
    scale = min(spec.height / pixels.shape[0], spec.width / pixels.shape[1])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    canvas = np.empty(spec.shape, np.uint8)
    canvas[:] = middle(_border(pixels))
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    canvas[top : top + height, left : left + width] = _resize(pixels, height, width)
    return canvas


def mnist(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Normalise a drawing as the makers of MNIST did.

    The foreground is separated from the background, made light on dark (or as the spec wants it), cropped, scaled so
    that its long side has `spec.parameters["stroke_side"]` pixels, and placed with its centre of mass at the centre of
    the image. An image that already has the model's size is at most inverted.

    Source: the description at the head of the MNIST data (LeCun, Cortes, Burges).

    Raises:
        BlankError: there is no foreground.
    """
    light_wanted = spec.polarity != "dark-on-light"
    light = None if invert == "auto" else light_wanted == (invert == "no")
    fits = pixels.shape == spec.shape
    if fits and light_wanted and light is not False and is_ready(pixels, pixels.shape[1] * pixels.shape[2]):
        return pixels
    grey = pixels[..., 0] if pixels.shape[-1] == 1 else np.asarray(to_image(pixels).convert("L"))
    found = find_foreground(grey, light)
    if fits:
        return pixels if found.light == light_wanted else 255 - pixels
    canvas = _centred(found.ink, spec)
    return np.repeat(canvas if light_wanted else 255 - canvas, spec.channels, axis=-1)


PREPROCESSINGS: Mapping[str, Callable[[Pixels, InputSpec, str], Pixels]] = {
    "raw": raw,
    "squash": squash,
    "fit-shortest": fit_shortest,
    "fit-longest": fit_longest,
    "mnist": mnist,
}


def _with_polarity(pixels: Pixels, spec: InputSpec, invert: str) -> Pixels:
    """`pixels`, inverted where that is asked for, or where their border is not of the spec's polarity."""
    if not any(np.ptp(pixels[..., channel]) for channel in range(pixels.shape[-1])):
        raise BlankError("The image is blank: all of it is of one tone.")
    if invert == "auto" and spec.polarity != "any":
        light_border = middle(_border(pixels).ravel()) > 127.5
        invert = "yes" if light_border == (spec.polarity == "light-on-dark") else "no"
    return 255 - pixels if invert == "yes" else pixels


def _centred(ink: Floats, spec: InputSpec) -> Pixels:
    """`ink`, 0 to 1, scaled to the stroke side, its centre of mass at the centre of a dark (height, width, 1) image."""
    room = min(spec.height, spec.width)
    side = min(max(spec.parameters.get("stroke_side", STROKE_PART * room), 1.0), room)
    scale = side / max(ink.shape)
    height, width = (max(1, round(size * scale)) for size in ink.shape)
    small = _resize((ink * 255.0).astype(np.uint8)[..., np.newaxis], height, width)
    mass = small[..., 0].astype(np.float64)
    centre = [mass.sum(axis=1 - axis) @ np.arange(mass.shape[axis]) / mass.sum() for axis in (0, 1)]
    top = int(np.clip(round((spec.height - 1) / 2 - centre[0]), 0, spec.height - height))
    left = int(np.clip(round((spec.width - 1) / 2 - centre[1]), 0, spec.width - width))
    canvas = np.zeros((spec.height, spec.width, 1), np.uint8)
    canvas[top : top + height, left : left + width] = small
    return canvas


def _border(pixels: Pixels) -> Pixels:
    """The outermost pixels on all four sides, (N, C)."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Antialiased (Lanczos) resize of uint8 (H, W, C)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return _to_pixels(to_image(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _to_pixels(image: Image.Image) -> Pixels:
    return np.asarray(image).reshape(image.height, image.width, -1)
