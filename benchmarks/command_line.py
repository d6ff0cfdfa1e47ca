"""Write docs/command-line.md from the commands themselves: `python benchmarks/command_line.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click
from shared import DOCS, table

from oddeven.runtime.cli.main import cli

HEADER = ("option", "value", "default", "what it does")
PAGE = DOCS / "command-line.md"
HEAD = """# All options

Made by `python benchmarks/command_line.py`. `oddeven COMMAND --help` explains a command and shows its usual options.
This page lists all of them. Each option is also a key of `[tool.oddeven.COMMAND]` in `./pyproject.toml`, which sets its
default:

```toml
[tool.oddeven.train]
recipe = "best"
patience = 3

[tool.oddeven.export]
format = ["tflite-int8", "onnx-int8"]
```

The limits of the accuracy gate are keys of `[tool.oddeven.parity]`, which [ci.md](ci.md) explains.
"""


def page() -> str:
    """The page as text."""
    context = click.Context(cli)
    sections = [HEAD]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        sections.append(f"## oddeven {name}\n\n{table(HEADER, _rows(command) if command else [])}\n")
    return "\n".join(sections)


def _rows(command: click.Command) -> Iterator[tuple[str, str, str, str]]:
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
        value = "" if option.is_flag else option.metavar or _kind(option.type)
        default = option.default if isinstance(option.default, (str, int, float)) and not option.is_flag else ""
        yield flags, value.replace("|", " or "), str(default), (option.help or "").partition("  [")[0]


def _kind(kind: Any) -> str:
    if isinstance(kind, click.Choice):
        return "|".join(map(str, kind.choices))
    if isinstance(kind, click.IntRange | click.FloatRange):
        limits = " to ".join(str(limit) for limit in (kind.min, kind.max) if limit is not None)
        return f"{kind.name.split()[0]} {'from ' if kind.max is None else ''}{limits}"
    return str(kind.name)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
