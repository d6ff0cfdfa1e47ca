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
FILES = 64  # images to decode in a chunk: enough to keep a core busy, few enough that results come soon

Result = TypeVar("Result")


def chunks_of(images: Iterable[Any], size: int = FILES) -> Iterator[Any]:
    """Runs of up to `size` arrays, or up to `FILES` images that must be decoded first, as they come."""
    if isinstance(images, np.ndarray):
        yield from (images[start : start + size] for start in range(0, len(images), size))
        return
    remaining = iter(images)
    for first in remaining:
        count = size if isinstance(first, np.ndarray) else FILES
        yield [first, *islice(remaining, count - 1)]


def in_order(work: Callable[[Any], Result], chunks: Iterator[Any], processes: bool = False) -> Iterator[Result]:
    """`work(chunk)` for each of `chunks`, read only a few chunks ahead of the results that are taken.

    Args:
        processes: for work that holds Python's lock, and that can be pickled.

    Raises:
        DataError: a process was killed, most likely for lack of memory.
    """
    first, second = next(chunks, None), next(chunks, None)
    if second is None:
        if first is not None:
            yield work(first)
        return
    from concurrent.futures import BrokenExecutor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(MOST_WORKERS, cores)
    pool, pending = _pool(workers, processes), deque["Future[Result]"]()
    try:
        for chunk in chain([first, second], chunks):
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenExecutor as error:
        raise DataError(
            "A process that decodes images was killed, most likely for lack of memory; are there very large images?"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int, processes: bool) -> Executor:
    """Processes where they can be forked, since a caller's script need not be fit to be imported again; or threads.

    A fork copies the locks that other threads hold, so there must be no other thread.
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
    """Leave Ctrl-C, which reaches all processes, to the parent, and end when the parent ends, even if it is killed."""
    import ctypes
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
