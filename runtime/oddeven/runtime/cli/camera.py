"""`oddeven camera`."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import click

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.mqtt_options import mqtt_options, open_outbox
from oddeven.runtime.cli.options import FILE, exit_on_signal, model_options, open_classifier, pin_option, rare_option
from oddeven.runtime.device.capture import Frame, classify_frames, default_source, open_source
from oddeven.runtime.device.drift import DriftMonitor, summary_path
from oddeven.runtime.device.gpio import open_pins
from oddeven.runtime.device.journal import Journal
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.preview import draw_pixels
from oddeven.runtime.prediction import UNCERTAIN, UNKNOWN, as_fields

STAGES = ("capture_ms", "prepare_ms", "infer_ms")


@click.command()
@click.option(
    "--source",
    metavar="picamera2|0|DEVICE|FILE",
    help="The Pi's own camera, the number or path of a V4L2 device, or a video.  [default: picamera2 if installed, "
    "else 0]",
)
@rare_option(
    "--patience",
    type=click.IntRange(min=1),
    default=3,
    help="Debouncing: change the steady label when this many frames in a row agree on another.",
)
@rare_option("--frames", type=click.IntRange(1, 2**31 - 1), help="Stop after this many frames.")
@model_options
@pin_option
@mqtt_options
@rare_option(
    "--journal",
    "out",
    type=FILE,
    help="Append each change of the steady label to this file, and keep a summary for oddeven drift beside it.  "
    "[default with --mqtt: camera.jsonl]",
)
@rare_option(
    "--drift-every",
    type=FiniteRange(min=0),
    default=10.0,
    help="Seconds from one frame that counts for oddeven drift to the next.",
)
@click.option("--show", is_flag=True, help="Draw what the model sees, on stderr.")
@rare_option("--headless", is_flag=True, help="Print a line a change, as without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a frame.")
def command(
    source: str | None,
    patience: int,
    frames: int | None,
    wiring: dict[str, str],
    show: bool,
    headless: bool,
    as_json: bool,
    out: Path | None,
    drift_every: float,
    model: str | None,
    **options: Any,
) -> None:
    """Classify what a camera sees, frame by frame, until stopped; no window is opened.

    A pin of --on-label follows the steady label. Exit code 0 at the end of a video, 5 when the camera is lost.
    """
    exit_on_signal(signal.SIGTERM, signal.SIGHUP)
    source = default_source() if source is None else source
    live = sys.stdout.isatty() and not (headless or as_json)
    steady = None
    mqtt = {name: options.pop(name) for name in list(options) if name.startswith("mqtt")}
    if mqtt["mqtt"]:
        out = out or Path("camera.jsonl")
    seen: list[Pixels] = []
    with (
        open_classifier(model, options) as classifier,
        Journal(out, classifier.spec.labels) if out else nullcontext() as journal,
        DriftMonitor(classifier.spec, out and summary_path(out), drift_every) as monitor,
        open_outbox("camera", out, classifier, model, monitor, lambda: seen, mqtt),
        open_pins(wiring, (*classifier.spec.labels, UNCERTAIN, UNKNOWN)) as show_label,
        open_source(source) as captured,
    ):
        try:
            for frame in classify_frames(classifier, islice(captured, frames), patience):
                show_label(frame.steady)
                seen[:] = [] if frame.pixels is None else [frame.pixels]
                for note in monitor.add(frame.prediction):
                    click.echo(f"oddeven: {note}", err=True)
                if show and frame.pixels is not None:
                    click.echo(draw_pixels(frame.pixels), err=True)
                if as_json:
                    click.echo(json.dumps(_fields(source, frame)))
                elif live:
                    click.echo(f"\r\x1b[K{_line(frame)}", nl=False)
                elif frame.steady != steady:
                    click.echo(_line(frame))
                if journal and steady != frame.steady == frame.prediction.label:
                    journal.add((source, time.time_ns()), frame.prediction)
                steady = frame.steady
        finally:
            if live:
                click.echo()
    if steady is None:
        raise DataError(f"{source} holds no frame.")


def _fields(source: str, frame: Frame) -> dict[str, object]:
    stages = {stage: round(getattr(frame, stage), 3) for stage in STAGES}
    return {**as_fields(source, frame.prediction), "frame": frame.number, "steady": frame.steady, **stages}


def _line(frame: Frame) -> str:
    """The frame's number, the steady label, the prediction for this frame, and milliseconds."""
    stages = "  ".join(f"{stage.removesuffix('_ms')} {getattr(frame, stage):.1f}" for stage in STAGES)
    familiarity = frame.prediction.familiarity
    known = "" if familiarity is None else f" familiarity {familiarity:.2f}"
    now = f"now {frame.prediction.label} {frame.prediction.probability:.4f}{known}"
    return f"{frame.number:6}  {frame.steady:10}  {now}  ms: {stages}"
