"""From a picture file to the pixels a model wants."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from oddeven.runtime.errors import DataError, choose
from oddeven.runtime.spec import InputSpec
from oddeven.runtime.tensor import Pixels

MODES = {1: "L", 3: "RGB"}
LEAST_CONTRAST = 32.0
WHITE = (255, 255, 255, 255)
UNREADABLE = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def read(source: Path | bytes, channels: int) -> Pixels:
    """Decode a picture, turned upright as its EXIF data says, transparency laid onto white.

    Args:
        source: a file's path or its bytes; any format Pillow knows, the first frame of several.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the file is missing, not a picture, damaged, or so large that it may be a decompression bomb.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                return _to_pixels(ImageOps.exif_transpose(opened), channels)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}.") from error
    except UNREADABLE as error:
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"{name} cannot be read as a picture: {reason}.") from error


def prepare(pixels: Pixels, spec: InputSpec) -> Pixels:
    """A decoded picture as the model wants it: uint8 (H, W, C) of any size in, of `spec.shape` out.

    Raises:
        DataError: the preprocessing finds nothing to look at.
        UsageError: the spec names a preprocessing that does not exist.
    """
    choose("preprocessing", spec.preprocessing, PREPROCESSINGS)
    return PREPROCESSINGS[spec.preprocessing](pixels, spec)


def squash(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Resize to the model's size, whatever that does to the aspect."""
    if pixels.shape == spec.shape:
        return pixels
    return _resize(pixels, spec.height, spec.width)


def mnist(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Normalise a stroke on a ground as the makers of MNIST did.

    The stroke is told from the ground by Otsu's threshold, made light on dark, cropped, scaled so that its long
    side has `spec.parameters["stroke_side"]` pixels, and laid with its centre of mass on the picture's centre.
    A picture that already has the model's size is only inverted where its border is light.

    Source: the description at the head of the MNIST data (LeCun, Cortes, Burges).

    Raises:
        DataError: the picture is of one tone, so that there is no stroke.
    """
    grey = pixels[..., 0].astype(np.float32)
    if np.median(_border(grey)) > 127.5:
        grey = 255.0 - grey
    if pixels.shape == spec.shape:
        return grey.astype(np.uint8)[..., np.newaxis]
    if np.ptp(grey) < LEAST_CONTRAST:
        raise DataError("The picture has no stroke to look at: it is of one tone.")
    return _centred(_cropped(grey), spec)[..., np.newaxis]


def fit_shortest(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Scale so that the picture just covers the model's, and cut its middle out."""
    scale = max(spec.height / pixels.shape[0], spec.width / pixels.shape[1])
    height, width = (max(least, round(side * scale)) for least, side in zip(spec.shape, pixels.shape[:2], strict=False))
    resized = _resize(pixels, height, width)
    top, left = (height - spec.height) // 2, (width - spec.width) // 2
    return resized[top : top + spec.height, left : left + spec.width]


def fit_longest(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Scale so that the whole picture just lies within the model's, in its middle, on black."""
    scale = min(spec.height / pixels.shape[0], spec.width / pixels.shape[1])
    height, width = (
        max(1, min(most, round(side * scale))) for most, side in zip(spec.shape, pixels.shape[:2], strict=False)
    )
    canvas = np.zeros(spec.shape, np.uint8)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    canvas[top : top + height, left : left + width] = _resize(pixels, height, width)
    return canvas


PREPROCESSINGS: Mapping[str, Callable[[Pixels, InputSpec], Pixels]] = {
    "squash": squash,
    "fit-shortest": fit_shortest,
    "fit-longest": fit_longest,
    "mnist": mnist,
}


def otsu(grey: npt.NDArray[np.float32]) -> float:
    """The threshold between two tones that leaves the least variance within each (Otsu 1979).

    Args:
        grey: values 0 to 255 of any shape.
    """
    counts = np.bincount(grey.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    above = below[-1] - below
    mass = np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    best = np.nan_to_num(between)
    # Between two well-parted tones the curve is flat: its middle is the fair threshold.
    return float(np.flatnonzero(best >= best.max() * (1 - 1e-12)).mean()) + 0.5


def _cropped(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The stroke's bounding box, its ground 0 and its ink 255."""
    threshold = otsu(grey)
    stroke = grey > threshold
    rows, columns = np.flatnonzero(stroke.any(axis=1)), np.flatnonzero(stroke.any(axis=0))
    ground, ink = np.median(grey[~stroke]), np.median(grey[stroke])
    # A fifth of the way up clears the paper's grain and keeps the soft edge of the ink.
    floor = ground + 0.2 * (ink - ground)
    clean = np.clip((grey - floor) / (ink - floor), 0.0, 1.0) * 255.0
    return cast("npt.NDArray[np.float32]", clean[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _centred(stroke: npt.NDArray[np.float32], spec: InputSpec) -> Pixels:
    """`stroke` scaled to the spec's stroke side and laid by its centre of mass on a dark picture."""
    side = spec.parameters["stroke_side"]
    scale = side / max(stroke.shape)
    height, width = (max(1, round(size * scale)) for size in stroke.shape)
    small = _resize(stroke.astype(np.uint8)[..., np.newaxis], height, width)[..., 0]
    mass = small.astype(np.float64)
    centre = [(mass.sum(axis=1 - axis) @ np.arange(mass.shape[axis])) / mass.sum() for axis in (0, 1)]
    top = int(np.clip(round((spec.height - 1) / 2 - centre[0]), 0, spec.height - height))
    left = int(np.clip(round((spec.width - 1) / 2 - centre[1]), 0, spec.width - width))
    canvas = np.zeros((spec.height, spec.width), np.uint8)
    canvas[top : top + height, left : left + width] = small
    return canvas


def _border(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The outermost pixels on all four sides."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _to_pixels(image: Image.Image, channels: int) -> Pixels:
    """Any Pillow image as uint8 (H, W, channels)."""
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(wide.max()), 1.0)
        image = Image.fromarray(np.clip(wide * (255.0 / top), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    pixels = np.array(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Antialiased (Lanczos) resize of uint8 (H, W, C)."""
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return resized.reshape(height, width, pixels.shape[-1])
