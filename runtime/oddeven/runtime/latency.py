"""How long one picture takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.engines import Engine
from oddeven.runtime.tensor import Array

WARM_UP = 20
ROUNDS = 200
WINDOWS = 5
POLLUTED = 1.1  # a window this much slower than the fastest one had company on the machine


@dataclass(frozen=True)
class Latency:
    """Times of single calls.

    Attributes:
        p50_us, p90_us, p99_us: percentiles over the calls of the clean windows.
        windows_us: each window's median.
        polluted: positions of the windows that were left out, because something else slowed them.
    """

    p50_us: float
    p90_us: float
    p99_us: float
    windows_us: tuple[float, ...]
    polluted: tuple[int, ...]


def measure(call: Callable[[], object], seconds: float) -> Latency:
    """Time `call`, warmed up, in `WINDOWS` windows that last `seconds` together.

    Medians over windows as in Banbury et al. (2021), MLPerf Tiny Benchmark.
    """
    for _ in range(WARM_UP):
        call()
    windows = [_window(call, seconds / WINDOWS) for _ in range(WINDOWS)]
    medians = [float(np.median(times)) for times in windows]
    polluted = tuple(i for i, median in enumerate(medians) if median > POLLUTED * min(medians))
    clean = np.concatenate([times for i, times in enumerate(windows) if i not in polluted])
    p50, p90, p99 = (float(p) for p in np.percentile(clean, (50, 90, 99)))
    return Latency(p50, p90, p99, tuple(medians), polluted)


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


def median_us(engine: Engine, picture: Array) -> float:
    """Median microseconds of one `engine.run` on `picture`, (1, H, W, C) in the input's dtype; takes a moment only."""
    times_ns = np.empty(ROUNDS)
    for turn in range(-WARM_UP, ROUNDS):
        start = time.perf_counter_ns()
        engine.run(picture)
        times_ns[turn] = time.perf_counter_ns() - start  # the warm-up is overwritten
    return float(np.median(times_ns)) / 1000.0
