"""How long one picture takes on this machine."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

from oddeven.runtime.engines import Engine
from oddeven.runtime.tensor import Array

WARM_UP = 20
ROUNDS = 200


def median_us(engine: Engine, picture: Array) -> float:
    """Median microseconds of one `engine.run` on `picture`, (1, H, W, C) in the input's dtype."""
    for _ in range(WARM_UP):
        engine.run(picture)
    times_ns = np.empty(ROUNDS)
    for turn in range(ROUNDS):
        start = time.perf_counter_ns()
        engine.run(picture)
        times_ns[turn] = time.perf_counter_ns() - start
    return float(np.median(times_ns)) / 1000.0


def machine() -> str:
    """What the times were measured on: cores and CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}"
