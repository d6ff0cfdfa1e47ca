"""How often the gate says PASS, FAIL and INCONCLUSIVE, and how often its confidence limits miss the truth.

    python benchmarks/verdict.py

Writes two tables into docs/ci.md, between their markers, and docs/images/verdict.png. Counts are drawn at random with a
fixed seed and judged as `oddeven verify` judges them, under the default policy. About a minute on one core.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from shared import DOCS, fill_page, table

from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.statistics import drop_interval, share_limits
from oddeven.runtime.parity.verdict import Counts, judge

SIZES = (100, 300, 1000, 3000, 10_000)
DROPS = (0.0, 0.0005, 0.001, 0.003, 0.01)
CHANGED = (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02)
DISCORDANT = (0.0001, 0.0003, 0.001, 0.003, 0.01)
WORSE = (0.5, 0.6, 0.75, 0.9, 1.0)
DRAWS = 10_000
POLICY = Policy()
# What the plot shows: images, and predictions that changed for the worse.
SHOWN = ((60, 0), (300, 1), (1500, 0), (10_000, 2), (10_000, 20), (10_000, 40))
COLOURS = {PASS: "#116329", FAIL: "#a40e26", INCONCLUSIVE: "#9a6700"}
Limits = Callable[[int, int, int, float], tuple[float, float]]


def draws(count: int, lost: float, won: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct (lost, won) counts of `count` images, and how many of `DRAWS` runs had them."""
    random = np.random.default_rng(0)
    drawn = random.multinomial(count, [lost, won, 1.0 - lost - won], size=DRAWS)[:, :2]
    return np.unique(drawn, axis=0, return_counts=True)


def rates(count: int, lost: float, won: float) -> Counter[str]:
    """How many of `DRAWS` runs end in each verdict."""
    found: Counter[str] = Counter()
    for (losses, gains), times in zip(*draws(count, lost, won), strict=True):
        found[judge(Counts(count, int(losses + gains), int(losses)), POLICY).overall] += int(times)
    return found


def rate_rows() -> Iterator[tuple[str, ...]]:
    """A row for each drop and share of changed predictions that can go together."""
    for drop, changed in product(DROPS, CHANGED):
        if changed >= drop:
            cells = (rates(count, (changed + drop) / 2, (changed - drop) / 2) for count in SIZES)
            shares = (
                " / ".join(f"{100 * found[v] / DRAWS:.0f}" for v in (PASS, FAIL, INCONCLUSIVE)) for found in cells
            )
            yield f"{100 * drop:.2f}", f"{changed:.2%}", *shares


def adjusted_wald(lost: int, won: int, count: int, confidence: float) -> tuple[float, float]:
    """Bonett and Price (2012): one image is added to each kind of change."""
    p, q, total = (lost + 1) / (count + 2), (won + 1) / (count + 2), count + 2
    half = NormalDist().inv_cdf(confidence) * math.sqrt((p + q - (p - q) ** 2) / total)
    return p - q - half, p - q + half


def score(lost: int, won: int, count: int, confidence: float) -> tuple[float, float]:
    """Tango (1998): the drops that a score test does not refuse."""
    return -_score_upper(won, lost, count, confidence), _score_upper(lost, won, count, confidence)


def _score_upper(lost: int, won: int, count: int, confidence: float) -> float:
    z, low, high = NormalDist().inv_cdf(confidence), (lost - won) / count, 1.0
    for _ in range(40):
        drop = (low + high) / 2
        b, c = (2 * count - lost + won) * drop - lost - won, -won * drop * (1 - drop)
        gained = (math.sqrt(b * b - 8 * count * c) - b) / (4 * count)
        spread = math.sqrt(count * (2 * gained + drop * (1 - drop)))
        low, high = (low, drop) if count * drop - (lost - won) > z * spread else (drop, high)
    return high


METHODS: dict[str, Limits] = {
    "adjusted Wald (Bonett and Price 2012)": adjusted_wald,
    "score (Tango 1998)": score,
    "MOVER of Clopper-Pearson limits (taken)": drop_interval,
}


def misses(limits: Limits, count: int) -> float:
    """The largest share of runs in which one limit is on the wrong side of the true drop, over all its sizes."""
    most = 0.0
    for changed, worse in product(DISCORDANT, WORSE):
        drop, found, times = changed * (2 * worse - 1), *draws(count, changed * worse, changed * (1 - worse))
        pairs = np.array([limits(int(lost), int(won), count, POLICY.confidence) for lost, won in found])
        most = max(most, float(times[pairs[:, 1] < drop].sum()), float(times[pairs[:, 0] > drop].sum()))
    return most / DRAWS


def plot(path: Path) -> None:
    """Intervals of the share of changed predictions against the limit, each with its verdict."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for row, (count, lost) in enumerate(SHOWN):
        verdict = judge(Counts(count, lost, lost), POLICY).agreement
        low, high = (100 * share for share in share_limits(lost, count, POLICY.confidence))
        axes.plot([max(low, 1e-3), high], [row, row], color=COLOURS[verdict], linewidth=5, solid_capstyle="butt")
        if lost:
            axes.plot(100 * lost / count, row, "o", color="white", markeredgecolor=COLOURS[verdict], markersize=8)
        axes.text(high * 1.12, row, verdict, va="center", color=COLOURS[verdict], weight="bold")
    limit = 100 * POLICY.max_changed
    axes.axvspan(1e-3, limit, color=COLOURS[PASS], alpha=0.07)
    axes.axvline(limit, color="black", linestyle="--")
    axes.text(limit, -0.85, f" allowed: {limit:.2f} %", va="center")
    axes.set(xscale="log", xlim=(1e-3, 30), ylim=(len(SHOWN) - 0.4, -1.2))
    axes.set_xlabel("share of all predictions that change for the worse, %")
    axes.set_yticks(range(len(SHOWN)), [f"{lost} of {count:,} changed" for count, lost in SHOWN])
    axes.set_xticks([0.001, 0.01, 0.1, 1, 10], ["0.001", "0.01", "0.1", "1", "10"])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def tables() -> dict[str, str]:
    """The tables of docs/ci.md, by the name of their markers."""
    header = ("true drop pp", "changed", *(f"{count:,} images" for count in SIZES))
    covered = [(name, *(f"{misses(limits, count):.1%}" for count in SIZES)) for name, limits in METHODS.items()]
    return {
        "rates": table(header, rate_rows()),
        "misses": table(("interval", *(f"{count:,} images" for count in SIZES)), covered),
    }


if __name__ == "__main__":
    fill_page("ci.md", tables())
    plot(DOCS / "images" / "verdict.png")
