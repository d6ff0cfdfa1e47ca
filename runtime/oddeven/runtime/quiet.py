"""Silence for libraries that write to the process's own stdout and stderr, past `sys` and `logging`."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DESCRIPTORS = (1, 2)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to file descriptors 1 and 2; show it, on stderr, only if the body fails.

    Python's own `print` is held back too, so print notes outside. The descriptors are the whole process's: in a thread
    beside the main one nothing is held back, or what the others print meanwhile would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _flush()
    kept = [os.dup(descriptor) for descriptor in DESCRIPTORS]
    with tempfile.TemporaryFile() as held:
        for descriptor in DESCRIPTORS:
            os.dup2(held.fileno(), descriptor)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            for descriptor, original in zip(DESCRIPTORS, kept, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
            if failed:
                held.seek(0)
                os.write(2, held.read())


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
