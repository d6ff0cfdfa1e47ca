"""How far long work is: a progress bar on a terminal, a line an item elsewhere; both on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A function that is told each of `total` items as it begins."""
    if not sys.stderr.isatty():
        yield lambda item: click.echo(item, err=True)
        return
    begun = 0
    with click.progressbar(length=total, file=sys.stderr, item_show_func=lambda item: item or "") as bar:

        def step(item: str) -> None:
            nonlocal begun
            bar.update(min(begun, 1), item)
            begun += 1

        yield step
        bar.update(1)
