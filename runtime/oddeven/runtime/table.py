"""One table, for a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def render(header: Sequence[str], rows: Sequence[Sequence[object]], markdown: bool = False) -> str:
    """Aligned columns; one whose values are all numbers, units aside, is set flush right.

    Args:
        header: one title a column.
        rows: cells, shown by `str`.
        markdown: as a pipe table instead of plain columns.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    columns = list(zip(header, *cells, strict=True))
    least = 2 if markdown else 0  # "-:", as a colon alone is no column of a pipe table
    widths = [max(least, *map(len, column)) for column in columns]
    right = [bool(cells) and all(_numeric(cell) for cell in column[1:]) for column in columns]
    lines = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        for row in [list(header), *cells]
    ]
    rule = [("-" * (w - 1) + ":") if r and markdown else "-" * w for w, r in zip(widths, right, strict=True)]
    lines.insert(1, rule)
    if markdown:
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def shown(value: float | None, form: str) -> str:
    """`value` in the format `form`; a dash where there is none."""
    return "-" if value is None else format(value, form)


def _numeric(cell: str) -> bool:
    """Whether a cell reads as a quantity: a sign or digit first, or a dash for none."""
    return cell in ("", "-") or cell.lstrip("+-±")[:1].isdigit()
