"""`oddeven selftest`."""

from __future__ import annotations

import dataclasses
import json

import click

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.cli.options import files_of
from oddeven.runtime.engines.registry import AUTO, ENGINES, automatic
from oddeven.runtime.errors import ModelError
from oddeven.runtime.table import render
from oddeven.runtime.verify.golden import Outcome, check_golden

HEADER = ("file", "engine", "off by", "allowed", "result")


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL|FOLDER]...")
@click.option("--engine", default=AUTO, help=f"One of {', '.join(ENGINES)}.  [default: every installed one]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each file and engine.")
@click.pass_context
def command(context: click.Context, /, models: tuple[str, ...], engine: str, as_json: bool) -> None:
    """Check that models predict here as they did when they were made: the bundled ones, or MODELs.

    Exit code 1 unless every file does, on every engine that can load it; 4 where none can.
    """
    outcomes = []
    given = [file.path for model in models for file in files_of(model, engine)]
    for path in given or bundled().values():
        # Where no engine is installed, `AUTO` raises an error that says so.
        for name in automatic(path) or [AUTO] if engine == AUTO else [engine]:
            outcomes.append(check_golden(path, name))
    if as_json:
        for outcome in outcomes:
            click.echo(json.dumps(dataclasses.asdict(outcome) | {"passed": outcome.passed}))
    else:
        click.echo(render(HEADER, [_row(outcome) for outcome in outcomes]))
    loaded = {outcome.file for outcome in outcomes if not outcome.reason}
    if reasons := dict.fromkeys(outcome.reason for outcome in outcomes if outcome.file not in loaded):
        raise ModelError("\n".join(reasons))
    context.exit(0 if all(outcome.passed or outcome.reason for outcome in outcomes) else 1)


def _row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.reason:
        return outcome.file, outcome.engine, "", "", "cannot load"
    result = "ok" if outcome.passed else "WRONG"
    return outcome.file, outcome.engine, f"{outcome.largest:.6f}", f"{outcome.allowed:.6f}", result
