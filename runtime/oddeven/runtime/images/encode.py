"""From pixels to an image of Pillow's, and to a PNG file for a page."""

from __future__ import annotations

import binascii
import io

from PIL import Image

from oddeven.runtime.arrays import Pixels


def to_image(pixels: Pixels) -> Image.Image:
    """`pixels`, uint8 (H, W, 1) or (H, W, 3), as a grey or RGB image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def to_png(pixels: Pixels, optimize: bool = False) -> bytes:
    """A PNG file of `pixels`, uint8 (H, W, 1) or (H, W, 3).

    Args:
        optimize: make the file as small as it gets, which takes longer.
    """
    written = io.BytesIO()
    to_image(pixels).save(written, "PNG", optimize=optimize)
    return written.getvalue()


def to_png_base64(pixels: Pixels, optimize: bool = False) -> str:
    """The same as text."""
    return binascii.b2a_base64(to_png(pixels, optimize), newline=False).decode("ascii")
