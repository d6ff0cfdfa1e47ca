"""A small image as text: what the model sees, in the terminal."""

from __future__ import annotations

import os
import sys
from typing import cast

import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.images.encode import to_image

RAMP = np.array(list(" .:-=+*#%@"))
COLUMNS = 80
RESET = "\x1b[0m"


def draw_pixels(pixels: Pixels) -> str:
    """`pixels`, uint8 (height, width, 1 or 3), as lines of text for stderr, reduced where wider than a terminal.

    Where stderr is a terminal that can show it and NO_COLOR is not set (no-color.org), a character shows two pixels,
    one above the other, in their own tones. Elsewhere every pixel is two ASCII characters, denser for lighter pixels.
    """
    image, colour = to_image(pixels), _can_show_blocks()
    image = image.reduce(-(-image.width // (COLUMNS if colour else COLUMNS // 2)))
    return _blocks(np.asarray(image.convert("RGB"))) if colour else _ascii(np.asarray(image.convert("L")))


def _can_show_blocks() -> bool:
    encoding = (sys.stderr.encoding or "").lower().replace("-", "")
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and encoding == "utf8" and not plain


def _blocks(rgb: Pixels) -> str:
    """Half blocks: the character's colour is the upper pixel, its background the lower; an odd last row is doubled."""
    rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, 0), (0, 0)), mode="edge")
    return "\n".join(
        "".join(
            f"\x1b[38;2;{r};{g};{b};48;2;{low_r};{low_g};{low_b}m\u2580"
            for (r, g, b), (low_r, low_g, low_b) in zip(upper, lower, strict=True)
        )
        + RESET
        for upper, lower in cast("list[list[list[list[int]]]]", rgb.reshape(-1, 2, rgb.shape[1], 3).tolist())
    )


def _ascii(grey: Pixels) -> str:
    """Two characters a pixel, since they are twice as high as wide."""
    shades = RAMP[grey.astype(int) * len(RAMP) // 256]
    return "\n".join("".join(line) for line in np.repeat(shades, 2, axis=1).tolist())
