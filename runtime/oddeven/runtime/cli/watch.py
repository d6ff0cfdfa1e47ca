"""`oddeven watch`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import click

from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.mqtt_options import mqtt_options, open_outbox
from oddeven.runtime.cli.options import FILE, exit_on_signal, model_options, open_classifier, pin_option, rare_option
from oddeven.runtime.device.drift import DriftMonitor, summary_path
from oddeven.runtime.device.gpio import open_pins
from oddeven.runtime.device.journal import Journal
from oddeven.runtime.device.watcher import UNREADABLE, watch_folder
from oddeven.runtime.errors import DataError
from oddeven.runtime.prediction import UNCERTAIN, UNKNOWN, as_fields, writable


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out", type=FILE, default=Path("results.jsonl"), show_default=True, help="Append to this file, .jsonl or .csv."
)
@click.option("--once", is_flag=True, help="Stop when every image in the folder is classified.")
@rare_option("--interval", type=FiniteRange(min=0.01), default=1.0, help="Seconds between two looks at the folder.")
@model_options
@pin_option
@mqtt_options
@click.option("--json", "as_json", is_flag=True, help="Also print one JSON object an image.")
def command(
    folder: Path,
    out: Path,
    once: bool,
    interval: float,
    wiring: dict[str, str],
    as_json: bool,
    model: str | None,
    **options: Any,
) -> None:
    """Classify each new image in FOLDER exactly once, after its write has finished, until stopped.

    The predictions survive a kill at any point: none is lost and none is repeated. An image that stays unreadable for
    half a minute is recorded as such.
    """
    exit_on_signal(signal.SIGTERM, signal.SIGHUP)
    if not folder.is_dir():  # may come back, and so is no wrong usage: the service starts again
        raise DataError(f"There is no folder {folder} to watch.")
    mqtt = {name: options.pop(name) for name in list(options) if name.startswith("mqtt")}
    with open_classifier(model, options) as classifier:
        labels = classifier.spec.labels
        monitor = DriftMonitor(classifier.spec, summary_path(out))
        last: list[Path] = []
        sending = open_outbox("watch", out, classifier, model, monitor, lambda: map(classifier.prepare, last), mqtt)
        with (
            Journal(out, labels) as journal,
            monitor,
            sending,
            open_pins(wiring, (*labels, UNCERTAIN, UNKNOWN, UNREADABLE)) as show_label,
        ):
            for path, prediction in watch_folder(folder, journal, classifier, interval, once):
                show_label(prediction.label)
                last[:] = [path]
                for note in monitor.add(prediction):
                    click.echo(f"oddeven: {note}", err=True)
                name = writable(path.name)
                line = json.dumps(as_fields(name, prediction)) if as_json else f"{name}  {prediction.label}"
                click.echo(line, err=not as_json)
