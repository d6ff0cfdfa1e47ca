"""Real numbers as options."""

from __future__ import annotations

from typing import Any

import click

LARGEST = 1e9  # some thirty years, where it is seconds; the system's clock takes nine times as much


class FiniteRange(click.FloatRange):
    """A real number in a range, in which there is neither nan nor anything above `LARGEST`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As that of `click.FloatRange`, which takes nan."""
        number = float(super().convert(value, param, ctx))
        if not number <= LARGEST:
            self.fail(f"{number:g} is not a number up to {LARGEST if self.max is None else self.max:g}.", param, ctx)
        return number
