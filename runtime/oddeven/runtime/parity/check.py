"""A check: one thing that the gate looked at, and the verdict on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
WORST_FIRST = (FAIL, INCONCLUSIVE, PASS)


@dataclass(frozen=True)
class Check:
    """The verdict on one property of a file.

    Attributes:
        name: what was looked at, such as `accuracy`.
        verdict: PASS, FAIL or INCONCLUSIVE.
        reason: a sentence with what was found and what is allowed.
        advice: what to do where it does not pass, or a note where it passes.
    """

    name: str
    verdict: str
    reason: str
    advice: str = ""

    @property
    def noted(self) -> bool:
        """Whether it passes with a note."""
        return self.verdict == PASS and bool(self.advice)


def verdict_on(name: str, passed: bool, reason: str, advice: str = "") -> Check:
    """A check that either passes or fails."""
    return Check(name, PASS if passed else FAIL, reason, "" if passed else advice)


def worst(checks: Iterable[Check]) -> Check:
    """The first check with the worst verdict. An empty list is INCONCLUSIVE, for nothing was proven."""
    nothing = Check("nothing", INCONCLUSIVE, "Nothing was checked.")
    return min(checks, key=lambda check: WORST_FIRST.index(check.verdict), default=nothing)
