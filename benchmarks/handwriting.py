"""Handwriting that is not MNIST's: the UCI optical digits, drawn as ink on uneven, noisy paper."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

from oddeven.runtime.arrays import Pixels

HEIGHT, WIDTH = 240, 320


def photographs(count: int | None = None, light_ink: bool = False) -> Iterator[Pixels]:
    """The first `count` of the 1,797 digits, or all: uint8 (240, 320)."""
    random = np.random.default_rng(0)
    return (photograph(digit, random, light_ink) for digit in load_digits().images[:count])


def photograph(digit: npt.NDArray[np.float64], random: np.random.Generator, light_ink: bool) -> Pixels:
    """An 8x8 digit, 0 to 16, as a photograph: uint8 (240, 320), off-centre, under uneven light, with noise."""
    side = int(random.integers(90, 170))
    ink = np.asarray(Image.fromarray((digit * 15.9).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC))
    page = np.zeros((HEIGHT, WIDTH))
    top, left = random.integers(10, HEIGHT - side - 10), random.integers(10, WIDTH - side - 10)
    page[top : top + side, left : left + side] = ink / 255.0
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    light = 200 + random.uniform(-40, 40) * x + random.uniform(-40, 40) * y
    picture = light - page * random.uniform(110, 160) + random.normal(0, 6, page.shape)
    pixels: Pixels = picture.clip(0, 255).astype(np.uint8)
    return 255 - pixels if light_ink else pixels
