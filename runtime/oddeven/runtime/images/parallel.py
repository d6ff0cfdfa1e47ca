"""Work on chunks of a stream, on all cores, with the results in order."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from oddeven.runtime.errors import DataError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

MOST_WORKERS = 4
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal to get when the parent ends
FILES = 64  # pictures to decode in a chunk: enough to keep a core busy, few enough that answers come soon

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


def in_order(work: Callable[[Any], Result], chunks: Iterator[Any], processes: bool = False) -> Iterator[Result]:
    """`work(chunk)` for each of `chunks`, which is drawn on only a few chunks ahead of what is taken.

    Args:
        processes: for work that Python does on one core at a time, and that can be pickled.

    Raises:
        DataError: a process was killed, most likely for want of memory.
    """
    first, second = next(chunks, None), next(chunks, None)
    if second is None:
        if first is not None:
            yield work(first)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(MOST_WORKERS, cores)
    pool, pending = _pool(workers, processes), deque["Future[Result]"]()
    try:
        for chunk in chain([first, second], chunks):
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * workers:
                yield _taken(pending.popleft())
        while pending:
            yield _taken(pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int, processes: bool) -> Executor:
    """Processes where they can be forked, as a caller's script need not be fit for being imported again; or threads.

    A fork copies the locks that other threads hold, so there must be none.
    """
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    if not processes or sys.platform != "linux" or threading.active_count() > 1:
        return ThreadPoolExecutor(workers)
    import multiprocessing

    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), initializer=_follow_parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's BLAS has threads, which decoding does not use
        pool.submit(int).result()
    return pool


def _follow_parent() -> None:
    """Leave Ctrl-C, which reaches all processes, to the parent, and end when that ends, even if it is killed."""
    import ctypes
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _taken(future: Future[Result]) -> Result:
    from concurrent.futures import BrokenExecutor

    try:
        return future.result()
    except BrokenExecutor as error:
        raise DataError(
            "A process that decodes pictures was killed, most likely for want of memory; are there very large pictures?"
        ) from error
