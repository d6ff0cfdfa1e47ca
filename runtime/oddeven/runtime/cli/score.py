"""`oddeven score`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from oddeven.runtime.archive.blocks import blocks_of
from oddeven.runtime.archive.cluster import connected, score_on_cluster
from oddeven.runtime.archive.report import to_html, to_text
from oddeven.runtime.archive.score import Run, check_run, missing, score, summarise, uncounted
from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.cli.options import FOLDER, model_options, open_classifier, page_option
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import alone_in, sha256, writable_folder, write
from oddeven.runtime.images.sources import SUFFIXES


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", type=FOLDER, required=True, help="Folder for the Parquet files.")
@page_option("Also write the summary as a page.")
@click.option("--cluster", metavar="auto|ADDRESS", help="Score on the nodes of this Ray cluster.")
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def command(
    context: click.Context, /, sources: tuple[str, ...], out: Path, html: Path | None, cluster: str | None,
    as_json: bool, model: str | None, **options: Any,
) -> None:  # fmt: skip
    """Classify an archive of images into Parquet files, and go on where a killed run stopped.

    A SOURCE is a folder, a tar shard or a Parquet file with a column of bytes, or a folder of these, at a path or at a
    URL that fsspec opens, such as s3://. An image that cannot be read becomes a row with the reason; the exit code is
    then 5.
    """
    settings = json.dumps({name: value for name, value in sorted(options.items()) if name not in ("engine", "threads")})
    connection = nullcontext() if cluster is None else connected(cluster)
    with open_classifier(model, options) as classifier, alone_in(writable_folder(out)), connection:
        run = Run(classifier.spec.name, sha256(locate(model).read_bytes()), settings)
        check_run(out, run)
        blocks = [block for source in sources for block in blocks_of(source)]
        left = missing(blocks, out)
        if cluster is None:
            score(classifier, left, out, run, _progress(len(left)))
        else:
            score_on_cluster(locate(model), options, left, out, run, _progress(len(left)))
    summary = summarise(out, blocks)
    if not summary.images:
        raise DataError(f"{', '.join(sources):.200} holds no image ({', '.join(SUFFIXES)}).")
    if others := uncounted(out, blocks):
        click.echo(
            f"oddeven: not counted in {out} are files of a source as it was before, or of another ({len(others)}): "
            f"{', '.join(others):.1000}; remove them, or name their sources too.",
            err=True,
        )
    if html:
        write(html, to_html(summary, run, str(out)))
    click.echo(json.dumps(dataclasses.asdict(summary)) if as_json else to_text(summary))
    context.exit(DataError.exit_code if summary.unreadable else 0)


def _progress(blocks: int) -> Callable[[int], None]:
    """What is told after each block: images, images a second, and the time left, on a terminal."""
    start, images, finished = time.monotonic(), 0, 0

    def done(count: int) -> None:
        nonlocal images, finished
        images, finished = images + count, finished + 1
        seconds = time.monotonic() - start
        left = seconds / finished * (blocks - finished)
        if sys.stderr.isatty():
            click.echo(
                f"\r{finished} of {blocks} blocks, {images:,} images, {images / seconds:,.0f} a second, "
                f"{left:,.0f} s left\x1b[K",
                nl=finished == blocks, err=True,
            )  # fmt: skip

    return done
