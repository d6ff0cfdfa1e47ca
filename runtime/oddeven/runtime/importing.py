"""Imports that take seconds, write to the terminal, and may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from oddeven.runtime.errors import extra, needing
from oddeven.runtime.process import quiet


@contextmanager
def importing(packages: str, need: str, of: str) -> Iterator[None]:
    """Say which `packages` the body imports, and hold back what they write.

    Raises:
        MissingPackageError: what `need`s them is not installed; the message names the extra `of` this distribution.
    """
    click.echo(f"importing {packages} ...", err=True)
    with needing(need, extra(of)), quiet():
        yield
