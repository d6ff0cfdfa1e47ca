"""Work on chunks of a stream, on all cores, with the results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np

MOST_WORKERS = 4
FILES = 16  # pictures to decode in a chunk: enough to keep a core busy, few enough that answers come soon

Result = TypeVar("Result")


def chunks_of(pictures: Iterable[Any], size: int) -> Iterator[Any]:
    """Runs of up to `size` arrays, or up to `FILES` pictures that must be decoded first, as they come."""
    if isinstance(pictures, np.ndarray):
        yield from (pictures[start : start + size] for start in range(0, len(pictures), size))
        return
    remaining = iter(pictures)
    for first in remaining:
        count = size if isinstance(first, np.ndarray) else FILES
        yield [first, *islice(remaining, count - 1)]


def in_order(work: Callable[[Any], Result], chunks: Iterator[Any]) -> Iterator[Result]:
    """`work(chunk)` for each of `chunks`, which is drawn on only a few chunks ahead of what is taken."""
    first, second = next(chunks, None), next(chunks, None)
    if second is None:
        if first is not None:
            yield work(first)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(MOST_WORKERS, cores)
    pool, pending = ThreadPoolExecutor(workers), deque[Future[Result]]()
    try:
        for chunk in chain([first, second], chunks):
            pending.append(pool.submit(work, chunk))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
