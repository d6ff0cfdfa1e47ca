"""`oddeven drift`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from oddeven.runtime.cli.options import FILE, page_option
from oddeven.runtime.device.drift import MEAN_IMAGES, REFERENCE, Share, read_summary, summary_path
from oddeven.runtime.files import write
from oddeven.runtime.page import render_page
from oddeven.runtime.table import render

TEMPLATE = Path(__file__).parents[1] / "device" / "templates" / "drift.html"
HEADER = ("share of images", "usual", "recent", "all", "over time", "")
BARS = "▁▂▃▄▅▆▇█"


@click.command()
@click.argument("journal", type=FILE)
@page_option("Write the shares over time as a page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a share.")
def command(journal: Path, html: Path | None, as_json: bool) -> None:
    """Show whether the images of JOURNAL still look as they did in validation.

    oddeven watch and oddeven camera keep the summary that this reads beside their journal.
    """
    summary = read_summary(summary_path(journal))
    shares = [share for share in summary.shares if share.totals[0]]
    if html:
        figures = {"mean_images": MEAN_IMAGES, "reference": REFERENCE}
        rows = [(share, _cells(share)) for share in shares]
        write(html, render_page(TEMPLATE, journal=journal.name, model=summary.model, rows=rows, **figures))
    if not shares:
        click.echo(
            f"oddeven: no image is counted for {summary.model} yet; the count begins anew with another model.", err=True
        )
    elif as_json:
        for share in shares:
            click.echo(json.dumps({**dataclasses.asdict(share), "departed": share.departed}))
    else:
        click.echo(render(HEADER, [row(share) for share in shares]))


def _cells(share: Share) -> tuple[str, str, str]:
    """What is usual, the share of late, and that of all images."""
    images, hits = share.totals
    usual = "not known yet" if (share.low, share.high) == (0.0, 1.0) else f"{share.low:.0%} to {share.high:.0%}"
    return usual, f"{share.recent:.1%}", f"{hits / images:.1%}"


def row(share: Share) -> tuple[str, ...]:
    """A row of `HEADER`."""
    parts = [hits / images for images, hits in share.history]
    bars = "".join(BARS[min(int(part * len(BARS)), len(BARS) - 1)] for part in parts)
    return share.name, *_cells(share), bars, "DRIFT" if share.departed else ""
