"""The options that every command with an open model takes, and what watching adds to them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from oddeven.runtime.engines.registry import AUTO, ENGINES
from oddeven.runtime.parity.policy import BUILT_IN, PROJECT, TABLE

if TYPE_CHECKING:  # NumPy takes longer to import than --help may
    from oddeven.runtime.classifier import Classifier

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


def open_classifier(model: str | None, options: dict[str, Any]) -> Classifier:
    """Open `model` with what `model_options` gave; where it is a folder, say on stderr which file is taken."""
    from oddeven.runtime.artifacts.resolve import locate
    from oddeven.runtime.classifier import Classifier

    tell_of_path(model)
    path = locate(model)
    if model and os.path.isdir(model):
        click.echo(f"oddeven: taking {path}.", err=True)
    return Classifier.load(path, **options)


def tell_of_path(model: str | None) -> None:
    """Say on stderr that `model` is taken for the path it is, where a bundled model has the same name."""
    from oddeven.runtime.artifacts.resolve import bundled

    if model in bundled() and os.path.exists(model):
        click.echo(f"oddeven: {model} is {Path(model).absolute()} here, not the bundled model.", err=True)


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


def policy_options(command: Command) -> Command:
    """Give a click command the options that `load` takes."""
    options = (
        click.option("--max-drop", "max_drop_pp", type=float, help="Largest drop in accuracy, in pp.  [default: 0.10]"),
        click.option("--max-upper", "max_upper_pp", type=float, help="Largest upper limit of it.  [default: 0.30]"),
        click.option("--min-agreement", type=float, help="Least share of unchanged answers.  [default: 0.998]"),
        click.option("--confidence", type=float, help="Of each limit, one-sided.  [default: 0.95]"),
        click.option("--max-bytes", type=click.IntRange(min=0), help="Largest size of a file.  [default: any]"),
        click.option(
            "--policy",
            "policy_file",
            type=click.Path(path_type=Path),
            help=f"TOML file with {TABLE}, or {', '.join(BUILT_IN)}.  [default: ./{PROJECT} where it has one]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
