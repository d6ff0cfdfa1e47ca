"""`oddeven watch`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from oddeven.runtime.cli.options import exit_on_sigterm, model_options, open_classifier, pin_option
from oddeven.runtime.prediction import as_fields


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("results.jsonl"),
    show_default=True,
    help="Append to this file, .jsonl or .csv.",
)
@click.option("--once", is_flag=True, help="End when every picture that is there has its answer.")
@click.option(
    "--interval", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Seconds between looks."
)
@model_options
@pin_option
@click.option("--json", "as_json", is_flag=True, help="Also print one JSON object a picture.")
def command(
    folder: Path,
    out: Path,
    once: bool,
    interval: float,
    wiring: dict[str, str],
    as_json: bool,
    model: str | None,
    **options: str | float | None,
) -> None:
    """Answer for each picture that appears in FOLDER, once, until stopped.

    The answers survive a kill at any point: none is lost and none is there twice. A picture that is still being
    written is waited for; one that stays unreadable is noted as such after half a minute.
    """
    from oddeven.runtime.device.gpio import Pins
    from oddeven.runtime.device.journal import Journal
    from oddeven.runtime.device.watcher import UNREADABLE, watch_folder
    from oddeven.runtime.prediction import UNCERTAIN

    exit_on_sigterm()
    with open_classifier(model, options) as classifier:
        labels = classifier.spec.labels
        with Journal(out, labels) as journal, Pins(wiring, (*labels, UNCERTAIN, UNREADABLE)) as pins:
            for name, answer in watch_folder(folder, journal, classifier, interval, once):
                pins.show(answer.label)
                line = json.dumps(as_fields(name, answer)) if as_json else f"{name}  {answer.label}"
                click.echo(line, err=not as_json)
