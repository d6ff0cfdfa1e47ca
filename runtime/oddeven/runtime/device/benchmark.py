"""What a model file costs on this machine, each measured in a process of its own."""

from __future__ import annotations

import importlib
import multiprocessing
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oddeven.runtime.errors import ModelError
from oddeven.runtime.process import take

if TYPE_CHECKING:  # the imports are part of what is measured
    from oddeven.runtime.device.latency import Latency


@dataclass(frozen=True)
class Cost:
    """One model file on one engine.

    Attributes:
        import_ms: of NumPy, Pillow and the engine.
        load_ms: from the file to a classifier that is ready.
        first_us: the first prediction.
        latency: of `Classifier.predict` on pixels that are ready.
        peak_memory_mb: largest resident size of the process.
    """

    file: str
    engine: str
    size_bytes: int
    import_ms: float
    load_ms: float
    first_us: float
    latency: Latency
    peak_memory_mb: float


def benchmark(path: Path, engine: str, threads: int, seconds: float) -> Cost:
    """Measure `path` in a fresh process, for `seconds` of predictions.

    Raises:
        OddEvenError: as `Classifier.load`.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=take) as pool:
        try:
            return pool.submit(_bench, path, engine, threads, seconds).result()
        except BrokenExecutor as error:
            raise ModelError(f"The process that measured {path} crashed; is the file damaged?") from error
        except (KeyboardInterrupt, SystemExit):
            for child in multiprocessing.active_children():  # which would measure to its end
                child.kill()
            raise


def _bench(path: Path, engine: str, threads: int, seconds: float) -> Cost:
    start = time.perf_counter()
    import numpy as np

    from oddeven.runtime.classifier import Classifier
    from oddeven.runtime.device.host_info import peak_memory_mb
    from oddeven.runtime.device.latency import measure
    from oddeven.runtime.engines.registry import ENGINES, select

    importlib.import_module(ENGINES[select(path, engine)].module)
    imported = time.perf_counter()
    with Classifier.load(path, engine, threads) as classifier:
        loaded = time.perf_counter()
        height, width, _ = shape = classifier.spec.input.shape
        image = np.zeros(shape, np.uint8)
        image[height // 4 : -height // 4, width // 2] = 255
        classifier.predict(image)
        first = time.perf_counter()
        return Cost(
            file=str(path),
            engine=f"{classifier.engine.name} {classifier.engine.version}",
            size_bytes=path.stat().st_size,
            import_ms=1e3 * (imported - start),
            load_ms=1e3 * (loaded - imported),
            first_us=1e6 * (first - loaded),
            latency=measure(lambda: classifier.predict(image), seconds),
            peak_memory_mb=peak_memory_mb(),
        )
