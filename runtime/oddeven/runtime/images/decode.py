"""From a picture file to pixels."""

from __future__ import annotations

import io
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.foreground import middle
from oddeven.runtime.images.sources import FORMATS

MODES = {1: "L", 3: "RGB"}
ENOUGH_SIDE = 1024
ORIENTATION = 0x0112  # the EXIF tag
# What Pillow's decoders raise on damaged files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, MemoryError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
QUIET = threading.Lock()


def read(source: Path | bytes, channels: int) -> Pixels:
    """Decode an image file, turned upright as its EXIF data says, transparency laid onto a ground.

    Args:
        source: a file's path or its bytes: PNG, JPEG, BMP, GIF, TIFF, WebP or PPM, the first frame of several.
            A JPEG whose sides are all at least twice `ENOUGH_SIDE` is decoded at a half, a quarter or an eighth.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the file is missing, not a picture, damaged, or so large that it may be a decompression bomb.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    with _decoding(name):
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):  # a pipe might wait for ever
            raise DataError(f"{name} is not a file; give the bytes of a picture on stdin, as -.")
        with _quiet():
            opened = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=tuple(FORMATS))
            if opened.format == "TIFF":  # which reads its tags while it decodes
                opened.load()
        with opened:
            opened.draft(MODES[channels], (ENOUGH_SIDE, ENOUGH_SIDE))
            return _pixels(opened, channels)


def pixels_of(image: Image.Image, channels: int) -> Pixels:
    """A PIL image as `read` gives the file that it would be saved to: uint8 (height, width, channels).

    Raises:
        DataError: it was opened from a file that is damaged, it is closed, or it has no pixels.
    """
    name = f"the given {type(image).__name__}"
    with _decoding(name):
        if not image.width * image.height:
            raise DataError(f"{name} has {image.width}x{image.height} pixels; expected at least one.")
        return _pixels(image, channels)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Pillow's errors as ours, about the image called `name`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}.") from error
    except UNREADABLE as error:
        known = not isinstance(error, UnidentifiedImageError)
        reason = (str(error).rstrip(".") or type(error).__name__) if known else "not a picture"
        raise DataError(f"{name} cannot be read as a picture: {reason}.") from error


def _pixels(image: Image.Image, channels: int) -> Pixels:
    """Decoded, upright, and as uint8 (H, W, channels)."""
    image.load()
    with _quiet():
        upright = _upright(image)
    return _to_pixels(upright, channels)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data says."""
    if image.getexif().get(ORIENTATION, 1) == 1:
        return image
    from PIL import ImageOps  # slow to import, and rarely asked for

    return ImageOps.exif_transpose(image)


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's warnings are about metadata, but for one: that a picture is very large, which is refused.

    Python keeps one set of warning filters for all threads, hence the lock; only headers are read under it.
    """
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _to_pixels(image: Image.Image, channels: int) -> Pixels:
    """Any Pillow image as uint8 (H, W, channels)."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bit(image))
    if _is_transparent(image):
        image = _opaque(image.convert("RGBA"))
    pixels = np.array(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _is_transparent(image: Image.Image) -> bool:
    """Pillow's own `has_transparency_data`, which Debian 12's Pillow 9.4, the one of a 32-bit Pi, does not have."""
    coloured = image.palette is not None and image.palette.mode.endswith("A")
    return image.getbands()[-1] in ("A", "a") or "transparency" in image.info or coloured


def _to_8_bit(image: Image.Image) -> Pixels:
    """Grey of more than 8 bits: integers of 16 bits, or real values, whose greatest is white."""
    with np.errstate(invalid="ignore"):  # a file may hold any bits as a real value
        wide = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    top = 65535.0 if image.mode.startswith("I") else max(float(wide.max()), 1.0)
    return np.clip(wide * (255.0 / top), 0, 255).astype(np.uint8)


def _opaque(image: Image.Image) -> Image.Image:
    """An RGBA picture laid onto what its transparent part most likely stands for.

    Where most is visible (a photograph with round corners) that is the tone most of it has; where little is (ink on
    nothing) it is white under dark ink and black under light ink.
    """
    colour, visible = np.asarray(image)[..., :3], np.asarray(image)[..., 3] > 127
    tone = middle(colour[visible]) if visible.any() else np.zeros(3)
    if np.count_nonzero(visible) * 2 < visible.size:
        tone = np.full(3, 0.0 if tone.mean() > 127.5 else 255.0)
    ground = Image.new("RGBA", image.size, (*(int(value) for value in tone), 255))
    return Image.alpha_composite(ground, image)
