"""From decoded pixels of any size to those a model wants, by the preprocessing that its spec names.

`read`, which decodes a file, is named here too, so that a caller needs one module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import BlankError, DataError, choose
from oddeven.runtime.images.decode import read
from oddeven.runtime.images.foreground import Floats, find_foreground, middle
from oddeven.runtime.images.ready import plain
from oddeven.runtime.spec import InputSpec

__all__ = ["INVERSIONS", "PREPROCESSINGS", "prepare", "read", "to_float"]

INVERSIONS = ("auto", "yes", "no")
STROKE_PART = 20 / 28  # of the picture's shorter side: what MNIST's strokes fill


def prepare(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """A decoded picture as the model wants it: uint8 (H, W, C) of any size in, of `spec.shape` out.

    Args:
        invert: whether the picture is the negative of what `spec.polarity` asks for; `auto` finds out.

    Raises:
        BlankError: there is nothing to see.
        DataError: the picture has not the size that `raw` wants.
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


def raw(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """The picture as it is, which must have the model's size; inverted only where that is asked for."""
    if pixels.shape != spec.shape:
        raise DataError(
            f"The preprocessing raw takes pixels of {spec.shape} (height, width, channels), got {pixels.shape}; "
            "name another preprocessing, or resize the picture."
        )
    return _toned(pixels, spec, "no" if invert == "auto" else invert)


def squash(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Resize to the model's size, whatever that does to the aspect."""
    return _resize(_toned(pixels, spec, invert), spec.height, spec.width)


def fit_shortest(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Scale until the picture just covers the model's size, and cut what juts out, on both sides alike."""
    from PIL import ImageOps  # slow to import, and rarely asked for

    image = _to_image(_toned(pixels, spec, invert))
    return _to_pixels(ImageOps.fit(image, (spec.width, spec.height), Image.Resampling.LANCZOS))


def fit_longest(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Scale until the picture just fits into the model's size, and fill up with the tone of its border."""
    pixels = _toned(pixels, spec, invert)
    scale = min(spec.height / pixels.shape[0], spec.width / pixels.shape[1])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    canvas = np.empty(spec.shape, np.uint8)
    canvas[:] = middle(_border(pixels))
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    canvas[top : top + height, left : left + width] = _resize(pixels, height, width)
    return canvas


def mnist(pixels: Pixels, spec: InputSpec, invert: str = "auto") -> Pixels:
    """Normalise a stroke on a ground as the makers of MNIST did.

    The stroke is told from the ground, made light on dark (or as the spec wants it), cropped, scaled so that its long
    side has `spec.parameters["stroke_side"]` pixels, and laid with its centre of mass on the picture's centre.
    A picture that already has the model's size is at most inverted.

    Source: the description at the head of the MNIST data (LeCun, Cortes, Burges).

    Raises:
        BlankError: there is no stroke.
    """
    wanted = spec.polarity != "dark-on-light"
    light = None if invert == "auto" else wanted == (invert == "no")
    ready = pixels.shape == spec.shape
    if ready and wanted and light is not False and plain(pixels, pixels.shape[1] * pixels.shape[2]):
        return pixels
    found = find_foreground(
        pixels[..., 0] if pixels.shape[-1] == 1 else np.asarray(_to_image(pixels).convert("L")), light
    )
    if ready:
        return pixels if found.light == wanted else 255 - pixels
    canvas = _centred(found.ink, spec)
    return np.repeat(canvas if wanted else 255 - canvas, spec.channels, axis=-1)


PREPROCESSINGS: Mapping[str, Callable[[Pixels, InputSpec, str], Pixels]] = {
    "raw": raw,
    "squash": squash,
    "fit-shortest": fit_shortest,
    "fit-longest": fit_longest,
    "mnist": mnist,
}


def _toned(pixels: Pixels, spec: InputSpec, invert: str) -> Pixels:
    """`pixels`, inverted where that is asked for, or where their border is not of the spec's polarity.

    Raises:
        BlankError: all pixels are of one tone.
    """
    if np.ptp(pixels) == 0:
        raise BlankError("There is nothing on the picture: it is of one tone.")
    if invert == "auto" and spec.polarity != "any":
        light_border = middle(_border(pixels).ravel()) > 127.5
        invert = "yes" if light_border == (spec.polarity == "light-on-dark") else "no"
    return 255 - pixels if invert == "yes" else pixels


def _centred(ink: Floats, spec: InputSpec) -> Pixels:
    """`ink`, 0 to 1, scaled to the stroke side and laid by its centre of mass on a dark (height, width, 1) picture."""
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
    return _to_pixels(_to_image(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _to_pixels(image: Image.Image) -> Pixels:
    return np.asarray(image).reshape(image.height, image.width, -1)
