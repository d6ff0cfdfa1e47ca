"""The options that several commands share: those of an open model, and those of pins."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from oddeven.runtime.artifacts.resolve import Candidate, bundled, locate, readable, resolve
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.engines.registry import AUTO, ENGINES, MOST_THREADS
from oddeven.runtime.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
ENVIRONMENT = "ODDEVEN_MODEL"
PAGE = ".html"
rare_option = partial(click.option, hidden=True)  # in docs/command-line.md, not in `--help`, which shows eight at most


def option_group(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that gives a click command several options, in that order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# What `Classifier.load` takes.
model_options = option_group(
    click.option(
        "--model",
        envvar=ENVIRONMENT,
        help=f"A bundled model, a file or an artifact folder.  [default: ${ENVIRONMENT}, or the bundled deep_cnn]",
    ),
    click.option(
        "--min-confidence",
        type=FiniteRange(0, 1),
        default=0.0,
        help="Call a less probable label uncertain.  [default: 0]",
    ),
    click.option(
        "--min-familiarity",
        type=FiniteRange(0, 1, max_open=True),
        help="Call a less familiar image unknown; 0 calls none so.  [default: the model's]",
    ),
    rare_option("--engine", default=AUTO, help=f"One of {', '.join(ENGINES)}."),
    rare_option("--threads", type=click.IntRange(1, MOST_THREADS), default=1, help="Threads for one image."),
    rare_option("--threshold", type=float, help="Decision threshold instead of the model's."),
    rare_option(
        "--preprocess",
        default=AUTO,
        help="Preprocessing instead of the model's: raw, squash, fit-shortest, fit-longest or mnist.",
    ),
    rare_option(
        "--invert",
        type=click.Choice([AUTO, "yes", "no"]),
        default=AUTO,
        help="Whether the image is the negative of what the model expects; auto finds out.",
    ),
)


def open_classifier(model: str | None, options: dict[str, Any]) -> Classifier:
    """Open `model` with the values of `model_options`; for a folder, say on stderr which file is used."""
    tell_of_path(model)
    path = locate(model)
    if model and os.path.isdir(model):
        click.echo(f"oddeven: taking {path}.", err=True)
    return Classifier.load(path, **options)


def tell_of_path(model: str | None) -> None:
    """Say on stderr that `model` is a path here, where a bundled model has the same name."""
    if model in bundled() and os.path.exists(model):
        click.echo(f"oddeven: {model} is {Path(model).absolute()} here, not the bundled model.", err=True)


def files_of(model: str | None, engine: str) -> list[Candidate]:
    """The files that `model` means and that `engine` reads; say on stderr which are left out, as `tell_of_path` does.

    Raises:
        UsageError, ModelError: as `resolve` and `readable`.
    """
    tell_of_path(model)
    meant = resolve(model)
    taken = readable(meant, model, engine)
    if left := [str(file.path) for file in meant if file not in taken]:
        why = "no engine reads them here unasked" if engine == AUTO else f"{engine} does not read them"
        click.echo(f"left out, since {why}: {', '.join(left)}", err=True)
    return taken


def _wiring(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    wiring: dict[str, str] = {}
    for item in given:
        label, separator, pin = item.rpartition("=")
        if not (label and separator and pin) or label in wiring:
            raise click.BadParameter(f"expected LABEL=PIN, once a label, such as odd=17, got {item!r}.")
        wiring[label] = pin
    return wiring


pin_option = click.option(
    "--on-label",
    "wiring",
    multiple=True,
    metavar="LABEL=PIN",
    callback=_wiring,
    help="Turn a GPIO pin (BCM number, or BOARD11) on while LABEL is predicted; repeatable.",
)


def check_page(context: click.Context, parameter: click.Parameter, given: Path | None) -> Path | None:
    """Refuse a page whose name is not that of one (UsageError), lest it be a file that the command reads."""
    if given and given.suffix != PAGE:
        raise UsageError(f"--html {given}: its name must end in {PAGE}.")
    return given


def page_option(help_text: str) -> Callable[[Command], Command]:
    """--html FILE, as `check_page` wants it."""
    return click.option("--html", type=FILE, callback=check_page, help=help_text)


def exit_on_signal(*numbers: signal.Signals) -> None:
    """Let SIGTERM, which stops a service, or SIGHUP, the end of a terminal or of SSH, unwind the program.

    So pins go off and files are closed. One that is ignored, as SIGHUP with nohup, still is.
    """
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: sys.exit(0))
