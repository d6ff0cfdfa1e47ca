"""How rare the false alarms of the drift test are, how soon it notices, and what it says of dirt on a lens.

    python benchmarks/drift.py

Writes the tables of docs/drift.md, between their markers, and docs/images/drift.png. All is drawn with fixed seeds. A
few minutes on one core.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import numpy.typing as npt
from shared import DOCS, fill_page, mnist_test, table

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.cli.drift import HEADER, row
from oddeven.runtime.device.drift import CONFIDENCE, REFERENCE, THRESHOLD, DriftMonitor, Share, step
from oddeven.runtime.parity.statistics import share_limits
from oddeven.runtime.table import render

USUAL = (0.1, 0.5)
SHIFTS = {0.1: (0.2, 0.3, 0.5, 0.8), 0.5: (0.6, 0.7, 0.8, 1.0)}
ALIKE = (1, 2, 3, 5, 10)  # images in a row, on average, that are of one kind
STREAM, STREAMS = 200_000, 10
LATE, TRIALS = 10_000, 100
# The lens: images before the first grain of dirt, from one grain to the next, and in all.
CLEAN, GRAIN_EVERY, SEEN, SHEET = 3000, 40, 5000, (0, 3400, 3800, 4200, 4999)
LAST, MIN_CONFIDENCE = 500, 0.9
SIDE = 48
Dirt = npt.NDArray[np.float64]  # how much of the light each grain takes, (grains, SIDE, SIDE), as they settle


def until_alarm(share: float, usual: float, alike: float, most: int, dice: random.Random) -> int | None:
    """Images until the alarm, if among `most` it comes; `share` of them count, and `usual` of the reference did."""
    limits = share_limits(round(usual * REFERENCE), REFERENCE, CONFIDENCE)
    recent, evidence, hit = usual, 1.0, dice.random() < share
    for number in range(1, most + 1):
        recent, evidence = step(recent, evidence, hit, *limits, THRESHOLD)
        if evidence >= THRESHOLD:
            return number
        if dice.random() < 1 / alike:
            hit = dice.random() < share
    return None


def false_alarms(share: float, usual: float, alike: float = 1.0) -> tuple[int, int]:
    """Alarms and images of `STREAMS` streams, each of which ends with its first alarm."""
    dice = random.Random(0)
    ends = [until_alarm(share, usual, alike, STREAM, dice) for _ in range(STREAMS)]
    return sum(end is not None for end in ends), sum(end or STREAM for end in ends)


def alarm_rows() -> Iterator[tuple[str, ...]]:
    """What is usual, the true share, and the false alarms; then the same for images that follow each other alike."""
    for usual in USUAL:
        for share in (usual, share_limits(round(usual * REFERENCE), REFERENCE, CONFIDENCE)[1]):
            yield f"{usual:.0%}", f"{share:.1%}", "1", *_counted(*false_alarms(share, usual))
    for alike in ALIKE[1:]:
        yield "50%", "50.0%", str(alike), *_counted(*false_alarms(0.5, 0.5, alike))


def _counted(alarms: int, images: int) -> tuple[str, str, str]:
    mean = f"{images / alarms:,.0f}" if alarms else f"more than {images:,}"
    return f"{images:,}", str(alarms), mean


def delay_rows() -> Iterator[tuple[str, ...]]:
    """How many images it takes until a share that has changed is noticed."""
    dice = random.Random(0)
    for usual, shifts in SHIFTS.items():
        for share in shifts:
            ends = [until_alarm(share, usual, 1.0, LATE, dice) or LATE for _ in range(TRIALS)]
            cuts = [f"{cut:,.0f}" if cut < LATE else f"more than {LATE:,}" for cut in quantiles(ends, n=10)]
            yield f"{usual:.0%}", f"{share:.0%}", cuts[4], cuts[8]


def photograph(digit: Pixels, grains: Dirt, number: int, dice: np.random.Generator) -> Pixels:
    """Image `number`: a digit somewhere in the frame, through the `grains` that have settled by then."""
    frame = np.zeros((SIDE, SIDE))
    top, left = dice.integers(0, SIDE - 28, 2)
    frame[top : top + 28, left : left + 28] = digit
    light = np.prod(1 - grains[: max(0, number - CLEAN) // GRAIN_EVERY], axis=0)
    seen: Pixels = np.round(frame * light + 220 * (1 - light)).astype(np.uint8)
    return seen


def dusty_lens() -> Dirt:
    """Soft round grains with radii of half a pixel to four pixels, anywhere."""
    dice = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    count = (SEEN - CLEAN) // GRAIN_EVERY + 1
    places, radii, opacity = (
        dice.uniform(0, SIDE, (count, 2)),
        dice.uniform(0.5, 4, count),
        dice.uniform(0.2, 0.9, count),
    )
    distance = [np.hypot(y - top, x - left) for top, left in places]
    return np.array([o * np.clip(r + 0.5 - d, 0, 1) for d, r, o in zip(distance, radii, opacity, strict=True)])


@dataclass(frozen=True)
class Day:
    """What the monitor said: its shares at each image, its sentences by image; some images, and which were right."""

    shares: list[tuple[Share, ...]]
    notes: dict[int, list[str]]
    sheet: list[Pixels]
    right: list[bool]


def dirt_on_a_lens() -> Day:
    """A camera with the bundled model looks at test digits while its lens grows dirty."""
    digits, shown = mnist_test()
    grains, dice, day = dusty_lens(), np.random.default_rng(1), Day([], {}, [], [])
    with Classifier.load(min_confidence=MIN_CONFIDENCE) as classifier:
        monitor = DriftMonitor(classifier.spec, None)
        frames = [photograph(digits[number], grains, number, dice) for number in range(SEEN)]
        for number, prediction in enumerate(classifier.predict_batch(frames)):
            if notes := monitor.add(prediction):
                day.notes[number] = notes
            day.shares.append(monitor.shares)
            day.right.append(prediction.label == classifier.spec.labels[shown[number] % 2])
    day.sheet.extend(frames[number] for number in SHEET)
    return day


def plot(day: Day, path: Path) -> None:
    """Some of the images, and below them each share with what is usual."""
    from matplotlib.figure import Figure

    shown = [number for number, share in enumerate(day.shares[-1]) if share.totals[0] and share.name != "odd"]
    figure = Figure(figsize=(9, 2 + 1.7 * len(shown)), layout="constrained")
    grid = figure.add_gridspec(1 + len(shown), len(SHEET))
    for column, (number, image) in enumerate(zip(SHEET, day.sheet, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"image {number + 1:,}", fontsize=9)
        axes.axis("off")
    for place, index in enumerate(shown, 1):
        draw_share(figure.add_subplot(grid[place, :]), [shares[index] for shares in day.shares], place == 1)
    figure.axes[-1].set_xlabel("image")
    figure.savefig(path, dpi=110)


def draw_share(axes: Any, shares: list[Share], legend: bool) -> None:
    """A share over time, red from the image on at which it counts as departed."""
    last, numbers = shares[-1], np.arange(len(shares))
    recent, departed = np.array([share.recent for share in shares]), np.array([share.departed for share in shares])
    axes.axhspan(last.low, last.high, color="#0f6e56", alpha=0.18, label="usual")
    axes.plot(numbers, recent, color="#0b5cad", label="recent share")
    axes.plot(numbers, np.where(departed, recent, np.nan), color="#a40e26", label="drift")
    axes.axvline(CLEAN, color="black", linestyle=":", label="first grain of dirt")
    axes.set(ylim=(0, 1), xlim=(0, len(shares)), title=last.name)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(loc="upper left", ncols=4, fontsize=8)


def said(day: Day) -> str:
    """What the command line prints while it happens, and the table of `oddeven drift` at the end."""
    parts = {"before the dirt": day.right[:CLEAN], f"at the end (the last {LAST})": day.right[-LAST:]}
    lines = [f"the right label for {np.mean(part):.1%} of the images {when}" for when, part in parts.items()]
    lines += [f"image {number + 1:,}: {note}" for number, notes in day.notes.items() for note in notes]
    summary = render(HEADER, [row(share) for share in day.shares[-1] if share.totals[0]])
    return "```\n" + "\n".join([*lines, "", summary]) + "\n```"


if __name__ == "__main__":
    day = dirt_on_a_lens()
    plot(day, DOCS / "images" / "drift.png")
    alarms = ("usual", "true share", "alike in a row", "images", "alarms", "images an alarm")
    tables = {
        "dirt": said(day),
        "false alarms": table(alarms, alarm_rows()),
        "delay": table(("usual", "becomes", "median", "90% within"), delay_rows()),
    }
    fill_page("drift.md", tables)
