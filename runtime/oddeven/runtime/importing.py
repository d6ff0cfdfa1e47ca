"""Imports that take seconds, write to the terminal, and swallow Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click

from oddeven.runtime.errors import missing_package
from oddeven.runtime.quiet import quiet


@contextmanager
def importing(packages: str, need: str, extra: str) -> Iterator[None]:
    """Say which `packages` the body imports, hold back what they write, and see to it that Ctrl-C is never lost.

    A library that catches every error while it loads catches `KeyboardInterrupt` too, so it is raised once more at the
    end. For the main thread.

    Raises:
        MissingPackageError: what `need`s them is not installed; the message names the `extra`.
    """
    click.echo(f"importing {packages} ...", err=True)
    interrupted = False

    def stop(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        with quiet():
            yield
    except ImportError as error:
        raise missing_package(need, extra) from error
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupted:
            raise KeyboardInterrupt
