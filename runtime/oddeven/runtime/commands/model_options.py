"""The options that every command with an open model takes, and what watching adds to them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from oddeven.runtime.engines import AUTO, ENGINES

Command = TypeVar("Command", bound=Callable[..., Any])
ENVIRONMENT = "ODDEVEN_MODEL"


def model_options(command: Command) -> Command:
    """Give a click command the options that `Classifier.load` takes."""
    options = (
        click.option(
            "--model",
            envvar=ENVIRONMENT,
            help=f"A bundled model, a file or an artifact folder.  [default: ${ENVIRONMENT}, or the bundled deep_cnn]",
        ),
        click.option("--engine", default=AUTO, show_default=True, help=f"One of {', '.join(ENGINES)}."),
        click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="For one picture."),
        click.option("--threshold", type=float, help="Instead of the model's own."),
        click.option(
            "--min-confidence", type=click.FloatRange(0, 1), default=0.0, help="Less is answered as uncertain."
        ),
        click.option(
            "--preprocess", default=AUTO, show_default=True, help="raw, squash, fit-shortest, fit-longest or mnist."
        ),
        click.option("--invert", type=click.Choice([AUTO, "yes", "no"]), default=AUTO, show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


def pin_option(command: Command) -> Command:
    """Give a click command `--on-label`, a mapping from label to pin."""
    return click.option(
        "--on-label",
        "wiring",
        multiple=True,
        metavar="LABEL=PIN",
        callback=_wiring,
        help="Drive a GPIO pin (BCM number, or BOARD11) while LABEL is the answer; repeatable.",
    )(command)


def exit_on_sigterm() -> None:
    """Let what stops a service end it by way of every `finally`, so that pins go off and files are closed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _wiring(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    wiring: dict[str, str] = {}
    for item in given:
        label, separator, pin = item.rpartition("=")
        if not (label and separator and pin) or label in wiring:
            raise click.BadParameter(f"expected LABEL=PIN, once a label, such as odd=17, got {item!r}.")
        wiring[label] = pin
    return wiring
