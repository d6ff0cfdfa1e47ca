"""What a project says of oddeven: the tables below `[tool.oddeven]` in its TOML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from oddeven.runtime.errors import UsageError

PROJECT = Path("pyproject.toml")


def read_tables(path: Path) -> dict[str, Any]:
    """What stands below `[tool.oddeven]` in the file `path`, by name.

    Raises:
        OSError, ValueError: it cannot be read, or is not TOML.
        UsageError: it has something else than a table there.
    """
    if sys.version_info >= (3, 11):  # imported here, for few projects have such a table
        import tomllib
    else:
        import tomli as tomllib
    table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    for name in ("tool", "oddeven"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} is {table!r:.40}; expected a table, [tool.oddeven].")
    return table
