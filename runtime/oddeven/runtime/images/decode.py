"""From an image in any form, a file, its bytes, a PIL image or an array, to pixels."""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.foreground import middle
from oddeven.runtime.images.sources import FORMATS

MODES = {1: "L", 3: "RGB"}
ENOUGH_SIDE = 1024
REDUCED = 4  # times Pillow's limit of pixels: what a JPEG may have that is decoded at half its size or less
PALE = 240  # a tone that can hardly be seen on white
ORIENTATION = 0x0112  # the EXIF tag
# What turns an image of that orientation upright. Pillow's own `exif_transpose` writes all of the EXIF data anew, which
# raises nearly anything where one of them is damaged.
TURNS: Mapping[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
UINT8 = np.dtype(np.uint8)
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders raise on damaged files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, MemoryError,
    struct.error, zlib.error, *BOMBS,
)  # fmt: skip
QUIET = threading.Lock()


class ArrayLike(Protocol):
    """A tensor of another library."""

    def __array__(self) -> Array:
        """Its values."""
        ...


ImageLike = str | os.PathLike[str] | bytes | Pixels | Image.Image | ArrayLike | DataError
"""What `decode_image` takes; a DataError is the place of an image that could not be found."""


def decode_image(image: ImageLike, channels: int) -> Pixels:
    """The pixels of an image, upright by its EXIF data, with transparent parts laid onto a background.

    Args:
        image: a path or the bytes of a PNG, JPEG, BMP, GIF, TIFF, WebP or PPM file, of which the first frame is taken;
            a PIL image; or an array, uint8 (H, W) or (H, W, channels), which is taken as it is. A JPEG whose sides are
            all at least twice `ENOUGH_SIDE` is decoded at a half, a quarter or an eighth of its size, and may have
            `REDUCED` times the pixels of other images.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the file is missing, not an image, damaged, or so large that it may be a decompression bomb; the
            array holds something else; the image is none of these; or it is a DataError itself.
    """
    if isinstance(image, np.ndarray):
        return _checked(image, channels)
    if isinstance(image, (str, bytes, os.PathLike)):
        return _decode_file(image if isinstance(image, bytes) else Path(os.fsdecode(image)), channels)
    if isinstance(image, Image.Image):
        name = f"the given {type(image).__name__}"
        with _pillow_errors(name):
            if not image.width * image.height:
                raise DataError(f"{name} has {image.width}x{image.height} pixels; expected at least one.")
            return _to_pixels(image, channels)
    if isinstance(image, DataError):
        raise image
    if not hasattr(image, "__array__"):
        raise DataError(
            "Expected an image: a path, the bytes of a file, a PIL image, or an array of uint8 pixels, "
            f"got {type(image).__name__}."
        )
    try:
        array = np.asarray(image)
    except Exception as error:  # whatever a foreign __array__ raises
        raise DataError(f"The given {type(image).__name__} gives no array: {error}.") from error
    return _checked(array, channels)


def suffix_of(content: bytes) -> str:
    """The suffix for an image file that `decode_image` takes."""
    with _quiet(), _open(content, 3) as image:
        is_jpeg = image.format == "MPO"  # Pillow's name for one with more images behind it, as phones make them
        return FORMATS["JPEG" if is_jpeg else str(image.format)][-1]


def picklable(chunk: Iterable[ImageLike], channels: int) -> list[ImageLike]:
    """The images in a form that another process can be given: paths as strings, which pickle fastest, or pixels."""

    def convert(image: ImageLike) -> ImageLike:
        if isinstance(image, (str, bytes, np.ndarray)):
            return image
        try:
            return os.fsdecode(image) if isinstance(image, os.PathLike) else decode_image(image, channels)
        except DataError as error:
            return error

    return [convert(image) for image in chunk]


def _decode_file(source: Path | bytes, channels: int) -> Pixels:
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    with _pillow_errors(name):
        mode = source.stat().st_mode if isinstance(source, Path) else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise DataError(f"{name} is a folder; expected an image.")
        if not stat.S_ISREG(mode):  # a pipe might wait for ever
            raise DataError(f"{name} is not a file; give the bytes of an image on stdin, as -.")
        with _quiet():
            opened = _open(source, channels)
            if opened.format == "TIFF":  # which reads its tags while it decodes
                opened.load()
        with opened:
            opened.draft(MODES[channels], (ENOUGH_SIDE, ENOUGH_SIDE))
            return _to_pixels(opened, channels)


def _open(source: Path | bytes, channels: int) -> Image.Image:
    """An image whose header is read, and of which no more pixels than Pillow's limit are decoded.

    A JPEG may have `REDUCED` times as many, for phones make them: it is decoded at a lower resolution, line by line. A
    progressive one may not, because it is held in memory as a whole.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        return Image.open(file, formats=tuple(FORMATS))
    except BOMBS:
        if isinstance(file, io.BytesIO):
            file.seek(0)
        with suppress(SyntaxError):  # where it is no JPEG
            photo, limit = JpegImageFile(file), Image.MAX_IMAGE_PIXELS or 0
            if "progressive" not in photo.info and photo.width * photo.height <= REDUCED * limit:
                photo.draft(MODES[channels], (ENOUGH_SIDE, ENOUGH_SIDE))
                if photo.width * photo.height <= limit:
                    return photo
            photo.close()
        raise


@contextmanager
def _pillow_errors(name: str) -> Iterator[None]:
    """Pillow's errors as ours, about the image called `name`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}.") from error
    except UNREADABLE as error:
        known = not isinstance(error, UnidentifiedImageError)
        said = getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__
        reason = said if known else "not an image"
        raise DataError(f"{name} cannot be read as an image: {reason}.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Pillow's warnings, which are about metadata, but for the one about very large images: those are refused.

    Python keeps one set of warning filters for all threads, hence the lock; only headers are read under it.
    """
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _to_pixels(image: Image.Image, channels: int) -> Pixels:
    """Any PIL image, upright and opaque, as uint8 (H, W, channels)."""
    image.load()
    turn = None
    with _quiet(), suppress(*UNREADABLE):  # where the metadata are damaged, the image need not be
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bit(image))
    if _is_transparent(image):
        image = _opaque(image.convert("RGBA"), channels)
    pixels = np.array(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _is_transparent(image: Image.Image) -> bool:
    """Pillow's own `has_transparency_data`, which Debian 12's Pillow 9.4, the one of a 32-bit Pi, does not have."""
    coloured = image.palette is not None and image.palette.mode.endswith("A")
    return image.getbands()[-1] in ("A", "a") or "transparency" in image.info or coloured


def _to_8_bit(image: Image.Image) -> Pixels:
    """Grey of more than 8 bits: 16-bit integers, or real values, of which the largest becomes white."""
    with np.errstate(invalid="ignore"):  # a file may hold any bits as a real value
        wide = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    top = 65535.0 if image.mode.startswith("I") else max(float(wide.max()), 1.0)
    return np.clip(wide * (255.0 / top), 0, 255).astype(np.uint8)


def _opaque(image: Image.Image, channels: int) -> Image.Image:
    """An RGBA image laid onto the background that its transparent part most likely stands for.

    In colour that is white, as viewers show it, and black only under what would be lost on white. In grey, where most
    is visible (a photograph with round corners), it is the tone most of it has; where little is (ink on nothing), it
    is white under dark ink and black under light ink.
    """
    colour, visible = np.asarray(image)[..., :3], np.asarray(image)[..., 3] > 127
    tone = middle(colour[visible]) if visible.any() else np.zeros(3)
    if channels == 3 or np.count_nonzero(visible) * 2 < visible.size:
        light = tone.mean() > (PALE if channels == 3 else 127.5)
        tone = np.full(3, 0.0 if light else 255.0)
    background = Image.new("RGBA", image.size, (*(int(value) for value in tone), 255))
    return Image.alpha_composite(background, image)


def _checked(array: Any, channels: int) -> Pixels:
    """An array of pixels, uint8 (H, W) or (H, W, channels), with its channel dimension."""
    pixels: Pixels = array[..., np.newaxis] if array.ndim == 2 else array
    fits = pixels.ndim == 3 and pixels.shape[-1] == channels and pixels.size > 0
    if pixels.dtype == UINT8 and fits:
        return pixels
    raise DataError(
        f"Expected uint8 pixels (height, width, {channels}) from 0 to 255, got {array.dtype} {array.shape}"
        f"{_remedy(array) if fits else ''}."
    )


def _remedy(array: Array) -> str:
    """What seems wrong with the values of an array of the right shape, and what to do."""
    if array.dtype.kind not in "fiu":
        return ""
    if not np.isfinite(array).all():
        return " with values that are not finite"
    low, high = array.min(), array.max()
    remedy = "round and convert them with .astype('uint8')"
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        remedy = "multiply them by 255 first, then " + remedy
    return f" with values from {low:g} to {high:g}; {remedy}"
