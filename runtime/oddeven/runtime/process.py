"""What a command does to its own process, and a library must not.

It holds back what other libraries write to stdout and stderr past `sys` and `logging`, and tries out in a child what
may crash it.

Until `take` is called, which only commands do, all of this does nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from oddeven.runtime.errors import ModelError, extra, needing

OWN = threading.Event()
INTERRUPTED = threading.Event()  # SIGINT has come
STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # by their file descriptors
HELD = (1, 2)
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
TRIAL_SECONDS = 60  # after which a trial ends without a result


def take() -> None:
    """Make this process a command's own: from now on `quiet`, `try_first` and INTERRUPTED do what they say.

    Of stdin, stdout and stderr, those that the caller has closed lead to the null device, so that no file that is
    opened later gets what is printed.
    """
    OWN.set()
    for descriptor, (name, mode) in enumerate(STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as `nohup` and `&` do
        signal.signal(signal.SIGINT, _interrupt)


@contextmanager
def quiet() -> Iterator[None]:
    """In a command, hold back what is written to file descriptors 1 and 2; show it, on stderr, only if the body fails.

    Python's own `print` is held back too, so print notes outside. The descriptors are the whole process's: in a thread
    beside the main one nothing is held back, or what the others print meanwhile would be lost.
    """
    if not OWN.is_set() or threading.current_thread() is not threading.main_thread():
        yield
        return
    _flush()
    kept = [os.dup(descriptor) for descriptor in HELD]
    with tempfile.TemporaryFile() as held:
        for descriptor in HELD:
            os.dup2(held.fileno(), descriptor)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            for descriptor, original in zip(HELD, kept, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
            if failed:
                held.seek(0)
                os.write(2, held.read())


@contextmanager
def importing(packages: str, need: str, of: str) -> Iterator[None]:
    """Say which `packages` the body imports, and hold back what they write.

    Raises:
        MissingPackageError: what `need`s them is not installed; the message names the extra `of` this distribution.
    """
    click.echo(f"importing {packages} ...", err=True)
    with needing(need, extra(of)), quiet():
        yield


def try_first(work: Callable[[], object], path: Path) -> None:
    """In a command, let a child of this process do `work` with the file `path` before this process does.

    Where the system cannot fork, or other threads might hold a lock that the child would wait for, nothing is tried.
    That `work` takes too long, or raises anything but a ModelError, is left to the second time.

    Raises:
        ModelError: the child crashed, or `work` raised this. It is not done again then: an engine that a damaged file
            makes read beyond its memory may refuse the file in one process and crash in the next.
    """
    if not (OWN.is_set() and hasattr(os, "fork")) or threading.active_count() > 1:
        return
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's BLAS has threads, which no trial needs
        child = os.fork()
    if not child:
        try:
            signal.alarm(TRIAL_SECONDS)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in HELD:
                os.dup2(nowhere, descriptor)
            work()
        except ModelError as error:
            os.write(writer, str(error).encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        refused = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHES:
        raise ModelError(
            f"{path} crashes its engine ({signal.Signals(os.WTERMSIG(status)).name}); the file is damaged or made by a "
            "broken converter. Copy or export it again."
        )
    if refused:
        raise ModelError(refused)


def _interrupt(number: int, frame: FrameType | None) -> None:
    INTERRUPTED.set()
    signal.default_int_handler(number, frame)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
