"""Separate the foreground of an image from an uneven background: dark ink on light paper, or light ink on dark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.errors import BlankError

Floats = npt.NDArray[np.floating[Any]]
Box = tuple[int, int, int, int]  # left, top, right, bottom, as Pillow has them

WORK_SIDE = 160  # long side of the reduced copy that is searched: eight times a digit of MNIST
LEAST_SIDE = 40  # a smaller foreground is searched again at a higher resolution
GRID_SIDE = 24  # long side of the copy that the background is fitted to
BORDER_WEIGHT = 3.0  # weight of a border pixel in that fit: the border is mostly background, the middle may not be
LEAST_CONTRAST = 20.0  # grey levels between background and ink
LEAST_AREA = 4  # pixels of the working copy
NOISES = 5.0  # ink stands out by so many standard deviations of the noise: chance reaches that once in 1.7 million
THRESHOLD = 0.45  # of the ink's level: what is foreground
SOFT = (0.2, 0.9)  # of the ink's level: what is drawn as 0 and as 1
MAJOR = 0.1  # of the largest piece's area: what is part of the foreground, not a speck
BLANK = "The image is blank: its tones differ no more than noise does."


@dataclass(frozen=True)
class Foreground:
    """What was found.

    Attributes:
        ink: float32 (height, width), cropped to the foreground: 0 is background, 1 is ink.
        light: the ink is lighter than the background.
    """

    ink: Floats
    light: bool


def find_foreground(grey: Pixels, light: bool | None = None) -> Foreground:
    """The foreground of a grey image.

    A reduced copy is searched first. Where the foreground is small in it, its surroundings are searched again.

    Args:
        grey: uint8 (height, width) of any size.
        light: whether the ink is lighter than the background; None to find out.

    Raises:
        BlankError: nothing stands out from the background.
    """
    image = Image.fromarray(grey)
    box, factor = (0, 0, image.width, image.height), 0
    while True:
        before, factor = factor, -(-max(box[2] - box[0], box[3] - box[1]) // WORK_SIDE)
        relief = _flat(np.asarray(image.reduce(factor, box), np.float32))
        light = _is_light(relief) if light is None else light
        ink, (left, top, right, bottom) = _ink(relief if light else -relief)
        side = max(right - left, bottom - top)
        if side >= LEAST_SIDE or factor in (1, before):
            return Foreground(ink, light)
        margin = side // 3 + 2
        near = np.array([left - margin, top - margin, right + margin, bottom + margin]) * factor
        corner = np.array(box[:2] * 2)
        box = cast("Box", tuple(np.clip(corner + near, corner, box[2:] * 2).tolist()))


def _flat(grey: Floats) -> Floats:
    """`grey` minus its background: the second-order surface of least absolute deviation from all of it.

    Absolute deviation makes the fit ignore the foreground, as long as most of the image, and of its border above all,
    is background. Found by iteratively reweighted least squares.
    """
    factor = -(-max(grey.shape) // GRID_SIDE)
    coarse = np.asarray(Image.fromarray(grey).reduce(factor), np.float64)
    weight = np.full(coarse.shape, BORDER_WEIGHT)
    weight[1:-1, 1:-1] = 1.0
    terms, values = _terms(*coarse.shape), coarse.ravel()
    surface = np.array([middle(values), 0, 0, 0, 0, 0])
    stiffness = np.diag([0.0, 1, 1, 1, 1, 1]) * 1e-4 * values.size
    for _ in range(5):
        # Within two grey levels all is background alike; without that floor one pixel could determine the surface.
        weighted = terms * (weight.ravel() / np.maximum(np.abs(values - surface @ terms), 2.0))
        surface = np.linalg.solve(weighted @ terms.T + stiffness, weighted @ values)
    height, width = grey.shape
    y, x = _axis(height)[:, np.newaxis], _axis(width)
    a, b, c, d, e, f = surface.astype(np.float32)
    return cast("Floats", grey - ((a + b * x + d * x * x) + y * (c + f * x) + e * y * y))


@lru_cache(maxsize=8)  # the camera's next frame has the same shape
def _terms(height: int, width: int) -> Floats:
    """1, x, y, x^2, y^2, xy of every pixel: (6, height * width), coordinates from -1 to 1."""
    y, x = (grid.ravel() for grid in np.meshgrid(_axis(height), _axis(width), indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])


def _axis(size: int) -> Floats:
    """The centres of `size` equal parts of -1 to 1, float32."""
    return (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2.0 / size) - 1


def _is_light(relief: Floats) -> bool:
    """Whether what stands out most from the background is lighter than it."""
    return bool(relief[relief > LEAST_CONTRAST].sum() >= -relief[relief < -LEAST_CONTRAST].sum())


def _ink(relief: Floats) -> tuple[Floats, Box]:
    """The foreground in a relief in which ink is high: the ink, 0 to 1, cropped to its bounding box, and that box.

    Raises:
        BlankError: nothing is high enough above the noise, or only a few pixels.
    """
    # Neighbours differ by noise alone, except at edges: for a normal distribution the median of |a - b| is 0.95 sigma.
    steps = np.abs(np.diff(relief[::4].ravel()))
    noise = float(middle(steps)) / 0.95 if steps.size else 0.0
    high = relief[relief > max(NOISES * noise, LEAST_CONTRAST)]
    if not high.size:
        raise BlankError(BLANK)
    foreground, box = _major(relief > max(THRESHOLD * _level(high), 3.0 * noise))
    low, full = (np.float32(part * _level(relief[foreground])) for part in SOFT)
    left, top, right, bottom = box
    relief, foreground = relief[top:bottom, left:right], foreground[top:bottom, left:right]
    # The soft edge lies within two pixels; grain farther away does not belong to it.
    near = np.asarray(Image.fromarray(foreground.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(2))) > 0
    return np.clip((relief - low) / (full - low), 0, 1) * near, box


def _level(values: Floats) -> float:
    """The ink's level: the upper quartile of its pixels, since the lower ones lie on its soft edge."""
    rank = 3 * values.size // 4
    return float(np.partition(values, rank)[rank])


def _major(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], Box]:
    """`mask` without its specks, and the bounding box of what remains.

    What touches the image's border (a table's edge, a shadow) counts only where there is nothing else.

    Raises:
        BlankError: there are only specks.
    """
    height, width = mask.shape
    starts, ends, piece = _runs(mask)
    area = np.bincount(piece, ends - starts)
    rows, first, last = starts // (width + 1), starts % (width + 1), ends % (width + 1)
    outer = (rows == 0) | (rows == height - 1) | (first == 0) | (last == width)
    inner = np.where(np.bincount(piece, outer), 0, area)
    area = inner if inner.max(initial=0) >= max(LEAST_AREA, MAJOR * area.max(initial=0)) else area
    if area.max(initial=0) < LEAST_AREA:
        raise BlankError(BLANK)
    kept = area[piece] >= MAJOR * area.max()
    steps = np.zeros(height * (width + 1), np.int8)
    steps[starts[kept]], steps[ends[kept]] = 1, -1
    box = first[kept].min(), rows[kept].min(), last[kept].max(), rows[kept].max() + 1
    return np.cumsum(steps, dtype=np.int8).reshape(height, width + 1)[:, :-1] > 0, cast("Box", box)


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The runs of set pixels along the rows, and which connected piece each belongs to.

    Returns:
        start and end of each run, counted through rows that are one pixel longer than the mask's, and the number of
        its piece (8-connected; some numbers stay unused).
    """
    row = mask.shape[1] + 1
    edges = np.diff(np.pad(mask, ((0, 0), (0, 1))).ravel().astype(np.int8), prepend=0)
    starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    piece = list(range(starts.size))

    def root(run: int) -> int:
        while piece[run] != run:
            piece[run] = run = piece[piece[run]]
        return run

    # The runs of the next row that touch a run are neighbours in the list: those between these two.
    below = np.searchsorted(ends, starts + row).tolist(), np.searchsorted(starts, ends + row, "right").tolist()
    for run, neighbours in enumerate(zip(*below, strict=True)):
        for other in range(*neighbours):
            piece[root(other)] = root(run)
    return starts, ends, np.array([root(run) for run in range(starts.size)], np.intp)


def middle(values: Array) -> Array:
    """The upper median along the first axis; without `numpy.ma`, which `np.median` takes 40 ms to import."""
    rank = len(values) // 2
    return cast("Array", np.partition(values, rank, axis=0)[rank])
