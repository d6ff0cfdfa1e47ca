"""`oddeven predict`."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oddeven.runtime.cli.options import model_options, open_classifier
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.sources import listed, named
from oddeven.runtime.prediction import as_fields, as_row, header, writable
from oddeven.runtime.table import render

if TYPE_CHECKING:  # NumPy takes longer to import than --help may
    from oddeven.runtime.classifier import Classifier
    from oddeven.runtime.images.inputs import Picture
    from oddeven.runtime.prediction import Prediction

Answers = Iterator[tuple[str, "Prediction"]]
SECONDS_OF_SILENCE = 1.0


@click.command()
@click.argument("images", nargs=-1, metavar="[PATH|-]...")
@click.option("--files-from", metavar="FILE|-", help="Read more paths from a file or stdin, one a line.")
@model_options
@click.option("--show", is_flag=True, help="Draw what the model sees, on stderr.")
@click.option("--save-input", type=click.Path(path_type=Path), metavar="DIR", help="Write what the model sees as PNG.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object a picture.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.pass_context
def command(
    context: click.Context,
    /,
    images: tuple[str, ...],
    files_from: str | None,
    model: str | None,
    show: bool,
    save_input: Path | None,
    form: str | None,
    **options: str | float | None,
) -> None:
    """Answer for pictures: files, globs, folders with everything below them, or - for one picture on stdin.

    A picture that cannot be read is named on stderr, the others are answered, and the exit code is 5.
    """
    if not images and files_from is None:
        raise click.UsageError("Missing argument '[PATH|-]...'.", context)
    paths = listed(files_from) if files_from else iter(())
    bad: list[str] = []
    with open_classifier(model, options) as classifier:
        sources: Iterable[tuple[str, Picture]] = named(chain(images, paths))
        if show or save_input:
            sources = _looked_at(classifier, sources, show, save_input)
        watched = sys.stderr.isatty() and (form is None or not sys.stdout.isatty())
        _WRITERS[form](_counted(_good(classifier, sources, bad), watched), classifier.spec.labels)
    context.exit(DataError.exit_code if bad else 0)


def _good(classifier: Classifier, sources: Iterable[tuple[str, Picture]], bad: list[str]) -> Answers:
    """The answers that there are; a picture without one is named on stderr and put on the list `bad`."""
    names: deque[str] = deque()

    def pictures() -> Iterator[Picture]:
        for name, picture in sources:
            names.append(name)
            yield picture

    for outcome in classifier.predict_batch(pictures(), errors="return"):
        name = names.popleft()
        if isinstance(outcome, DataError):
            bad.append(name)
            click.echo(f"oddeven: {writable(name)}: {writable(str(outcome))}", err=True)
        else:
            yield name, outcome


def _looked_at(
    classifier: Classifier, sources: Iterable[tuple[str, Picture]], show: bool, folder: Path | None
) -> Iterator[tuple[str, Picture]]:
    """The same sources; what the model will see of each is drawn, and saved as `folder/<number>-<name>.png`."""
    from PIL import Image

    from oddeven.runtime.files import replacing
    from oddeven.runtime.images.preview import draw

    for number, (name, picture) in enumerate(sources):
        yield name, picture
        try:
            pixels = classifier.prepare(picture)
        except DataError:
            continue  # the answer says why
        if show:
            click.echo(f"{writable(name)}\n{draw(pixels)}", err=True)
        if folder:
            with replacing(folder / f"{number:04}-{Path(name).stem}.png") as partial:
                Image.fromarray(pixels.squeeze()).save(partial)


def _counted(answers: Answers, watched: bool) -> Answers:
    """The same answers; where `watched`, work that takes longer than a moment says on stderr how far it is."""
    start = shown = time.monotonic()
    for count, answer in enumerate(answers):
        now = time.monotonic()
        if watched and now - shown > SECONDS_OF_SILENCE:
            click.echo(f"\r{count:,} pictures, {count / (now - start):,.0f} a second", nl=False, err=True)
            shown = now
        yield answer
    if shown > start:
        click.echo(err=True)


def _table(answers: Answers, labels: tuple[str, str]) -> None:
    rows = [(writable(name), answer.label, f"{answer.probability:.4f}", answer.reason) for name, answer in answers]
    if rows:
        width = 4 if any(row[3] for row in rows) else 3
        click.echo(render(("file", "answer", "probability", "reason")[:width], [row[:width] for row in rows]))


def _json(answers: Answers, labels: tuple[str, str]) -> None:
    for name, answer in answers:
        click.echo(json.dumps(as_fields(name, answer)))


def _csv(answers: Answers, labels: tuple[str, str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header(labels))
    writer.writerows(as_row(name, answer, labels) for name, answer in answers)


_WRITERS: Mapping[str | None, Callable[[Answers, tuple[str, str]], None]] = {
    None: _table,
    "json": _json,
    "csv": _csv,
}
