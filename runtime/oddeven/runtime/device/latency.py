"""How long one image takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine

WARM_UP = 20
WINDOWS = 5
BRIEF_S = 0.02
SLOWER = 1.1  # a window this much slower than the fastest one had company on the machine, or a hot CPU
SHARES = np.linspace(0, 100, 1001)


@dataclass(frozen=True)
class Latency:
    """Times of single calls.

    Attributes:
        best_us: the fastest window's median: what the machine can do while it is cool and idle.
        p50_us, p90_us, p99_us: percentiles over all windows, each of which counts the same: what it sustains.
        windows_us: each window's median.
        slower: positions of the windows whose median is more than a tenth above the best.
    """

    best_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    windows_us: tuple[float, ...]
    slower: tuple[int, ...]


def measure(call: Callable[[], object], seconds: float) -> Latency:
    """Time `call`, warmed up, in `WINDOWS` windows that last `seconds` together.

    Medians over windows as in Banbury et al. (2021), MLPerf Tiny Benchmark. A slow window has fewer calls, so the calls
    alone, pooled, would make a CPU that throttles look better than it is.
    """
    for _ in range(WARM_UP):
        call()
    windows = [_window(call, seconds / WINDOWS) for _ in range(WINDOWS)]
    medians = [float(np.median(times)) for times in windows]
    best = min(medians)
    alike = np.concatenate([np.percentile(times, SHARES) for times in windows])
    p50, p90, p99 = (float(p) for p in np.percentile(alike, (50, 90, 99)))
    slower = tuple(i for i, median in enumerate(medians) if median > SLOWER * best)
    return Latency(best, p50, p90, p99, tuple(medians), slower)


def _window(call: Callable[[], object], seconds: float) -> npt.NDArray[np.float64]:
    """Microseconds of each call that fits into `seconds`, at least one."""
    times_ns: list[int] = []
    now = time.perf_counter_ns()
    end = now + int(seconds * 1e9)
    while now < end or not times_ns:
        start = time.perf_counter_ns()
        call()
        now = time.perf_counter_ns()
        times_ns.append(now - start)
    return np.array(times_ns) / 1000.0


def median_us(engine: Engine, image: Array) -> float:
    """Median microseconds of one `engine.run` on `image`, (1, H, W, C) in the input's dtype, measured briefly."""
    return measure(lambda: engine.run(image), BRIEF_S).p50_us
