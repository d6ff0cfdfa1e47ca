"""`oddeven predict`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from oddeven.runtime.engines import AUTO, ENGINES
from oddeven.runtime.errors import DataError
from oddeven.runtime.table import render

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="A bundled model's name or a model file.  [default: the most accurate bundled one]")
@click.option("--engine", default=AUTO, show_default=True, help=f"One of {', '.join(ENGINES)}.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture.")
@click.pass_context
def command(
    context: click.Context,
    images: tuple[Path, ...],
    model: str | None,
    engine: str,
    threads: int,
    as_json: bool,
) -> None:
    """Answer for pictures: files, or folders with everything below them.

    A picture that cannot be read is named on stderr, the others are answered, and the exit code is 5.
    """
    from oddeven.runtime.catalogue import DEFAULT_MODEL
    from oddeven.runtime.classifier import Classifier

    rows, bad = [], 0
    with Classifier.load(model or DEFAULT_MODEL, engine, threads) as classifier:
        for path in _files(images):
            try:
                answer = classifier.predict(path)
            except DataError as error:
                click.echo(f"oddeven: {path}: {error}", err=True)
                bad += 1
                continue
            if as_json:
                scores = {label: round(p, 6) for label, p in answer.scores.items()}
                click.echo(json.dumps({"file": str(path), "label": answer.label, "scores": scores}))
            rows.append((path, answer.label, f"{answer.probability:.4f}"))
    if rows and not as_json:
        click.echo(render(("file", "answer", "probability"), rows))
    context.exit(DataError.exit_code if bad else 0)


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The files meant by `paths`: each as it is, and a folder's pictures by name order.

    Raises:
        DataError: a folder holds no picture.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(child for child in path.rglob("*") if child.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"The folder {path} holds no picture ({', '.join(SUFFIXES)}).")
        yield from found
