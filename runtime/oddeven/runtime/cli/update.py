"""`oddeven update`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.files import alone_in
from oddeven.runtime.update.trial import Installation, update


@click.command()
@click.argument("source", metavar="URL|FILE")
@click.option("--service", default="", help="Restart this systemd service, and go back if it does not stay up.")
@click.option("--watch", type=FiniteRange(min=0), default=2.0, show_default=True, help="For so many minutes.")
@click.option("--allow-downgrade", is_flag=True, help="Take a release that is older than the installed one.")
@click.option("--prefix", type=click.Path(path_type=Path), help="The installation.  [default: the one that runs this]")
@click.option("--max-mb", type=click.IntRange(min=1), default=1000, hidden=True, help="Largest bundle, in megabytes.")
def command(source: str, service: str, watch: float, allow_downgrade: bool, prefix: Path | None, max_mb: int) -> None:
    """Update this device to a bundle, or to what a channel file (.json) offers it.

    A bundle that is damaged, older, or not signed by the key that install.sh --trust named is refused. The new version
    must pass its self-test before it becomes the current one, and again after the service was restarted. If it does
    not, the one before is made the current one again. Exit code 7 if an update was refused or undone.
    """
    prefix = prefix or Path(os.path.abspath(f"{sys.prefix}/../../.."))  # what runs is in PREFIX/versions/NAME/venv
    here = Installation(prefix.absolute(), service, 60.0 * watch, max_mb * 1_000_000, allow_downgrade)
    with alone_in(here.prefix):
        updated = update(here, source)
    click.echo(f"release {here.release}{'' if updated else ': nothing to do'}")
