"""The layout of a scatter plot: accuracy against size, one point and one label a file."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oddeven.runtime.parity.check import PASS
from oddeven.runtime.verify.recommendation import front
from oddeven.runtime.verify.report import FileReport

COLOURS = 6
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 900, 58, 780, 12, 380
# Labels are 12 px high; a character of a sans-serif face is a little over half of that wide.
LINE, CHARACTER = 14.0, 6.6
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """A file at (x, y), whether it is on the front, and the end of its label that is nearer to it."""

    file: FileReport
    front: bool
    colour: int
    share: float
    x: float
    y: float
    label: str
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Plot:
    """All that the template draws, in pixels.

    Attributes:
        measure: `accuracy`, or `agreement` where a file was tested on images without labels.
        columns, rows: places and texts of the grid lines.
    """

    measure: str
    columns: list[tuple[float, str]]
    rows: list[tuple[float, str]]
    points: list[Point]
    colours: int = COLOURS
    left: int = LEFT
    right: int = WIDTH
    top: int = TOP
    bottom: int = BOTTOM


def lay_out(models: Iterable[Sequence[FileReport]]) -> Plot:
    """Place the files of each model, at least one file in all.

    Both axes are logarithmic, the vertical one in the error, so that 0.99 and 0.999 stay apart. A file without a single
    error is drawn at half an error, for a logarithm has no zero.
    """
    files = [(number % COLOURS, file) for number, own in enumerate(models) for file in own]
    measure = "accuracy" if all(file.parity.accuracy is not None for _, file in files) else "agreement"
    shares: list[float] = [getattr(file.parity, measure) for _, file in files]
    sizes = [float(file.size_bytes) for _, file in files]
    errors = [
        min(max(1.0 - share, 0.5 / file.parity.count), 0.99) for share, (_, file) in zip(shares, files, strict=True)
    ]
    columns, rows = _ticks(min(sizes), max(sizes)), _ticks(min(errors), max(errors))
    xs, ys = ([_place(v, columns, LEFT, RIGHT) for v in sizes], [_place(v, rows, TOP, BOTTOM) for v in errors])
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in zip(xs, ys, strict=True)]
    points, best = [], {id(file) for file in front([file for _, file in files])}
    for (colour, file), share, x, y in sorted(zip(files, shares, xs, ys, strict=True), key=lambda row: row[-1]):
        label = file.format if file.verdict == PASS else f"{file.format} {file.verdict}"
        box = _free_box(x, y, CHARACTER * len(label), taken)
        taken.append(box)
        edge = box[0] if box[0] > x else box[2]
        points.append(
            Point(file, id(file) in best, colour, share, x, y, label, round(edge, 1), round((box[1] + box[3]) / 2, 1))
        )
    return Plot(
        measure,
        [(_place(value, columns, LEFT, RIGHT), f"{value / 1e3:,g} kB") for value in columns],
        [(_place(value, rows, TOP, BOTTOM), f"{1 - value:.6g}") for value in rows],
        points,
    )


def _place(value: float, ticks: Sequence[float], start: float, end: float) -> float:
    """Where `value` lies on a logarithmic axis whose first tick is drawn at `start` and the last at `end`."""
    return round(start + (end - start) * math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0]), 1)


def _ticks(low: float, high: float) -> list[float]:
    """Two or more round values, from one at or below `low` to one above `high`; both are above 0."""
    steps = (1, 2, 3, 5, 7) if high < 30 * low else (1, 3)
    powers = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2)
    values = [step * 10.0**power for power in powers for step in steps]
    return values[bisect_right(values, low) - 1 : bisect_right(values, high) + 1]


def _free_box(x: float, y: float, width: float, taken: Sequence[Box]) -> Box:
    """The nearest place beside the point (x, y) for a label that overlaps none of `taken`."""
    boxes = [
        (left, y + dy - LINE / 2, left + width, y + dy + LINE / 2)
        for dy in sorted((LINE * k for k in range(-30, 31)), key=abs)
        for left in (x + 9, x - 9 - width)
    ]
    inside = [box for box in boxes if box[0] >= LEFT and box[1] >= TOP and box[2] <= WIDTH and box[3] <= BOTTOM]
    free = (a for a in inside if not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken))
    return next(free, boxes[0])
