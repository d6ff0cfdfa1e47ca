"""`oddeven predict`."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import click

from oddeven.runtime.classifier import Classifier
from oddeven.runtime.cli.options import PATH, model_options, open_classifier, rare_option
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import LONGEST, write
from oddeven.runtime.images.decode import ImageLike
from oddeven.runtime.images.encode import to_png
from oddeven.runtime.images.preview import draw_pixels
from oddeven.runtime.images.sources import expand_paths, paths_in_list
from oddeven.runtime.prediction import Prediction, as_fields, as_row, header, writable
from oddeven.runtime.table import render, shown

Sources = Iterable[tuple[str, ImageLike]]
Predictions = Iterator[tuple[str, Prediction]]
SILENT_SECONDS = 1.0


@click.command()
@click.argument("images", nargs=-1, metavar="[PATH|-]...")
@click.option("--files-from", metavar="FILE|-", help="Read more paths from a file or stdin, one a line.")
@model_options
@click.option("--show", is_flag=True, help="Draw what the model sees, on stderr.")
@click.option("--save-input", type=PATH, metavar="DIR", help="Write what the model sees as PNG.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object an image.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@rare_option("--locale", help="Name the labels in this language, such as ko, where the model has it.")
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
    """Classify images: files, globs, folders with everything below them, or - for one image on stdin.

    An image that cannot be read is named on stderr, the others are classified, and the exit code is 5.
    """
    if not images and files_from is None:
        raise click.UsageError("Missing argument '[PATH|-]...'.", context)
    paths = chain(images, paths_in_list(files_from) if files_from else ())
    bad: list[str] = []
    with open_classifier(model, options) as classifier:
        sources: Sources = expand_paths(paths)
        if show or save_input:
            sources = _show_inputs(classifier, sources, show, save_input)
        predictions = _predictions(classifier, sources, bad)
        if sys.stderr.isatty() and (form is None or not sys.stdout.isatty()):
            predictions = _counted(predictions)
        _WRITERS[form](predictions, classifier.spec.labels)
    context.exit(DataError.exit_code if bad else 0)


def _predictions(classifier: Classifier, sources: Sources, bad: list[str]) -> Predictions:
    """The predictions; an image that cannot be read is named on stderr and added to `bad`."""
    for name, outcome in classifier.predict_named(sources):
        if isinstance(outcome, DataError):
            bad.append(name)
            click.echo(f"oddeven: {writable(name)}: {writable(str(outcome))}", err=True)
        else:
            yield name, outcome


def _show_inputs(classifier: Classifier, sources: Sources, show: bool, folder: Path | None) -> Sources:
    """The same sources; what the model sees of each is drawn, and saved as `folder/<number>-<name>.png`."""
    for number, (name, image) in enumerate(sources):
        yield name, image
        try:
            pixels = classifier.prepare(image)
        except DataError:
            continue  # reported with its prediction
        if show:
            click.echo(f"{writable(name)}\n{draw_pixels(pixels)}", err=True)
        if folder:
            write(folder / f"{number:04}-{Path(name).stem[:LONGEST]}.png", to_png(pixels))


def _counted(predictions: Predictions) -> Predictions:
    """The same predictions; long work reports its progress on stderr."""
    start = shown = time.monotonic()
    for count, prediction in enumerate(predictions):
        now = time.monotonic()
        if now - shown > SILENT_SECONDS:
            click.echo(f"\r{count:,} images, {count / (now - start):,.0f} a second", nl=False, err=True)
            shown = now
        yield prediction
    if shown > start:
        click.echo(err=True)


def _table(predictions: Predictions, labels: tuple[str, str]) -> None:
    rows = [
        (writable(name), found.label, f"{found.probability:.4f}", shown(found.familiarity, ".4f"), found.reason)
        for name, found in predictions
    ]
    if rows:
        titles = ("file", "prediction", "probability", "familiarity", "reason")
        used = [place for place in range(len(titles)) if place < 3 or {row[place] for row in rows} - {"", "-"}]
        click.echo(render([titles[i] for i in used], [[row[i] for i in used] for row in rows]))


def _json(predictions: Predictions, labels: tuple[str, str]) -> None:
    for name, prediction in predictions:
        click.echo(json.dumps(as_fields(name, prediction)))


def _csv(predictions: Predictions, labels: tuple[str, str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header(labels))
    writer.writerows(as_row(name, prediction, labels) for name, prediction in predictions)


_WRITERS: Mapping[str | None, Callable[[Predictions, tuple[str, str]], None]] = {
    None: _table,
    "json": _json,
    "csv": _csv,
}
