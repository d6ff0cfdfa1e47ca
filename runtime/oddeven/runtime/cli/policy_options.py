"""The options of the commands that hold files to a parity policy."""

from __future__ import annotations

import click

from oddeven.runtime.cli.options import PATH, option_group, rare_option
from oddeven.runtime.parity.policy import BUILT_IN, TABLE
from oddeven.runtime.project import PROJECT

# What `load_policy` takes.
policy_options = option_group(
    rare_option("--max-drop", "max_drop_pp", type=float, help="Largest drop in accuracy, in pp."),
    rare_option("--max-upper", "max_upper_pp", type=float, help="Largest upper confidence limit of the drop, in pp."),
    rare_option("--min-agreement", type=float, help="Least share of unchanged predictions, 0 to 1."),
    rare_option("--confidence", type=float, help="Of each limit, one-sided, 0 to 1."),
    rare_option("--max-bytes", type=click.IntRange(min=0), help="Largest size of a file."),
    click.option(
        "--policy",
        "policy_file",
        type=PATH,
        help=f"TOML file with {TABLE}, or {', '.join(BUILT_IN)}.  [default: ./{PROJECT} where it has one]",
    ),
)
