"""Where a parity policy comes from: the command line over `[tool.oddeven.parity]` of a TOML file over the defaults."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from oddeven.runtime.errors import UsageError
from oddeven.runtime.parity import Policy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = "[tool.oddeven.parity]"
SETTINGS = ("max_drop_pp", "max_upper_pp", "min_agreement", "confidence", "max_bytes", "count_gains")
# `small` is for some tens or hundreds of pictures: it passes from 59 on without a change for the worse, 93 with one.
BUILT_IN: Mapping[str, Policy] = {
    "default": Policy(),
    "small": Policy(max_drop_pp=2.0, max_upper_pp=5.0, min_agreement=0.95),
}
PROJECT = Path("pyproject.toml")

Command = TypeVar("Command", bound=Callable[..., Any])


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


def load(policy_file: Path | None, **given: float | None) -> Policy:
    """The policy that the command line and a TOML file add up to.

    Args:
        policy_file: a TOML file, or where there is none of that name, the name of a policy in `BUILT_IN`. None looks at
            `pyproject.toml` in the working folder.
        given: settings by their name in `Policy`; None where the command line says nothing.

    Raises:
        UsageError: the file cannot be read, or a setting is unknown, not a number or out of range.
    """
    name = str(policy_file)
    base, table = Policy(), {}
    if name in BUILT_IN and not Path(name).exists():
        base = BUILT_IN[name]
    else:
        table = _read(policy_file or PROJECT, required=policy_file is not None)
    settings = {**table, **{key: value for key, value in given.items() if value is not None}}
    try:
        return replace(base, **settings)
    except ValueError as error:
        raise UsageError(f"The parity policy cannot be: {error}") from error


def _read(path: Path, required: bool) -> dict[str, Any]:
    """The settings in the table of the TOML file `path`."""
    if not required and not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"Cannot read the policy in {path}: {error}. Give a TOML file or one of {', '.join(BUILT_IN)}."
        ) from error
    table = content.get("tool", {}).get("oddeven", {}).get("parity")
    if table is None:
        if required:
            raise UsageError(f"{path} has no table {TABLE}.")
        return {}
    for key, value in table.items():
        if key not in SETTINGS:
            raise UsageError(f"{path}: {TABLE} has no setting {key!r}; known are {', '.join(SETTINGS)}.")
        kind = type(getattr(Policy(), key))
        wanted = "true or false" if kind is bool else "a number"
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, int | float):
            raise UsageError(f"{path}: {key} in {TABLE} must be {wanted}, got {value!r}.")
    return {key: type(getattr(Policy(), key))(value) for key, value in table.items()}
