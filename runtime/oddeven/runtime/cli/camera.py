"""`oddeven camera`."""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import TYPE_CHECKING

import click

from oddeven.runtime.cli.options import exit_on_sigterm, model_options, open_classifier, pin_option
from oddeven.runtime.prediction import as_fields

if TYPE_CHECKING:  # NumPy takes longer to import than --help may
    from oddeven.runtime.device.capture import Frame

STAGES = ("capture_ms", "prepare_ms", "infer_ms")


@click.command()
@click.option(
    "--source",
    metavar="picamera2|0|DEVICE|FILE",
    help="The Pi's own camera, the number or path of a V4L2 one, or a video.  [default: picamera2 where it is, else 0]",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Debouncing: change the steady label when so many frames in a row agree on another.",
)
@click.option("--frames", type=click.IntRange(min=1), help="End after so many.")
@model_options
@pin_option
@click.option("--show", is_flag=True, help="Draw what the model sees, on stderr.")
@click.option("--headless", is_flag=True, help="Print a line a change, as without a terminal, instead of a live line.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a frame.")
def command(
    source: str | None,
    patience: int,
    frames: int | None,
    wiring: dict[str, str],
    show: bool,
    headless: bool,
    as_json: bool,
    model: str | None,
    **options: str | float | None,
) -> None:
    """Answer for what a camera sees, frame by frame, until stopped; no window is opened.

    A pin of --on-label follows the steady label. Exit code 0 at the end of a video, 5 when the camera is lost.
    """
    from oddeven.runtime.device.capture import classify_frames, default_source, open_source
    from oddeven.runtime.device.gpio import Pins
    from oddeven.runtime.errors import DataError
    from oddeven.runtime.images.preview import draw
    from oddeven.runtime.prediction import UNCERTAIN

    exit_on_sigterm()
    source = source or default_source()
    with (
        open_classifier(model, options) as classifier,
        Pins(wiring, (*classifier.spec.labels, UNCERTAIN)) as pins,
        open_source(source) as images,
    ):
        live = sys.stdout.isatty() and not (headless or as_json)
        steady = None
        try:
            for seen in classify_frames(classifier, islice(images, frames), patience):
                pins.show(seen.steady)
                if show and seen.pixels is not None:
                    click.echo(draw(seen.pixels), err=True)
                if as_json:
                    click.echo(json.dumps(_fields(source, seen)))
                elif live:
                    click.echo(f"\r\x1b[K{_line(seen)}", nl=False)
                elif seen.steady != steady:
                    click.echo(_line(seen))
                steady = seen.steady
        finally:
            if live:
                click.echo()
        if steady is None:
            raise DataError(f"{source} holds no frame.")


def _fields(source: str, seen: Frame) -> dict[str, object]:
    stages = {stage: round(getattr(seen, stage), 3) for stage in STAGES}
    return {**as_fields(source, seen.answer), "frame": seen.number, "steady": seen.steady, **stages}


def _line(seen: Frame) -> str:
    """The frame's number, the steady label, the answer for this frame, and milliseconds."""
    stages = "  ".join(f"{stage.removesuffix('_ms')} {getattr(seen, stage):.1f}" for stage in STAGES)
    return f"{seen.number:6}  {seen.steady:10}  now {seen.answer.label} {seen.answer.probability:.4f}  ms: {stages}"
