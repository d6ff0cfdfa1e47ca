"""The options of the commands that hold files to a parity policy."""

from __future__ import annotations

from pathlib import Path

import click

from oddeven.runtime.cli.options import option_group
from oddeven.runtime.parity.policy import BUILT_IN, TABLE
from oddeven.runtime.project import PROJECT

# What `load_policy` takes.
policy_options = option_group(
    click.option("--max-drop", "max_drop_pp", type=float, hidden=True, help="Largest drop in accuracy, in pp."),
    click.option(
        "--max-upper",
        "max_upper_pp",
        type=float,
        hidden=True,
        help="Largest upper confidence limit of the drop, in pp.",
    ),
    click.option("--min-agreement", type=float, hidden=True, help="Least share of unchanged predictions, 0 to 1."),
    click.option("--confidence", type=float, hidden=True, help="Of each limit, one-sided, 0 to 1."),
    click.option("--max-bytes", type=click.IntRange(min=0), hidden=True, help="Largest size of a file."),
    click.option(
        "--policy",
        "policy_file",
        type=click.Path(path_type=Path),
        help=f"TOML file with {TABLE}, or {', '.join(BUILT_IN)}.  [default: ./{PROJECT} where it has one]",
    ),
)
