"""What a file is allowed: the defaults, then `[tool.oddeven.parity]` of a TOML file, then the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from oddeven.runtime.errors import UsageError
from oddeven.runtime.project import PROJECT, read_tables


@dataclass(frozen=True)
class RoundingTolerance:
    """When a float file may change a prediction: by rounding, at the threshold, and nowhere else.

    Attributes:
        margin: the reference's probability is nearer to the threshold than this.
        step: the probability moves by no more than this.
    """

    margin: float
    step: float


# A float32 sum differs only by the order of its terms. A float16 weight is off by 2**-11 of itself at most, so a logit
# whose terms add up to A in absolute value is off by A * 2**-11 a layer, and a probability near one half by a quarter
# of that. Near the threshold A is at most 24 for the shipped models; A = 32 and 4 layers give 2**-6.
ROUNDING_TOLERANCES: Mapping[str, RoundingTolerance] = {
    "float32": RoundingTolerance(margin=1e-4, step=1e-5),
    "float16": RoundingTolerance(margin=2**-6, step=2**-6),
}


@dataclass(frozen=True)
class Policy:
    """What a file is allowed.

    Attributes:
        max_drop_pp: largest drop in accuracy, in percentage points: a file whose drop is surely larger fails, and one
            whose observed drop is larger does not pass.
        max_upper_pp: largest upper confidence limit of the drop, in percentage points: the margin of non-inferiority.
        min_agreement: least share of predictions that do not change, 0 to 1. Where the labels are known, a change for
            the better does not count, unless `count_gains`.
        confidence: of each limit, one-sided, 0 to 1.
        max_bytes: largest size of a file; 0 for any.
        min_known_agreement: least share of images that stay known, or unknown, 0 to 1; a file that surely changes more
            fails.
        count_gains: whether a change for the better counts against agreement as one for the worse does.
        ties: by precision, of files that must predict alike; any other precision falls under the limits above.
    """

    max_drop_pp: float = 0.10
    max_upper_pp: float = 0.30
    min_agreement: float = 0.998
    confidence: float = 0.95
    max_bytes: int = 0
    min_known_agreement: float = 0.99
    count_gains: bool = False
    ties: Mapping[str, RoundingTolerance] = field(default_factory=lambda: ROUNDING_TOLERANCES)

    @property
    def max_changed(self) -> float:
        """Largest share of predictions that may change, 0 to 1."""
        return 1.0 - self.min_agreement

    def __post_init__(self) -> None:
        """Refuse limits outside their range (ValueError)."""
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"the confidence {self.confidence} must lie between 0 and 1.")
        for agreement in (self.min_agreement, self.min_known_agreement):
            if not 0.0 <= agreement <= 1.0:
                raise ValueError(f"the least agreement {agreement} must be a share from 0 to 1.")
        if not 0.0 <= self.max_drop_pp <= self.max_upper_pp:
            raise ValueError(
                f"the allowed drop, {self.max_drop_pp} pp, must lie between 0 and its allowed upper limit, "
                f"{self.max_upper_pp} pp."
            )
        if self.max_bytes < 0:
            raise ValueError(f"the largest size, {self.max_bytes} bytes, must not be negative; 0 is for any.")


TABLE = "[tool.oddeven.parity]"
SETTINGS: Mapping[str, type] = {limit.name: type(limit.default) for limit in fields(Policy) if limit.name != "ties"}
WANTED: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}
# `small` is for tens or hundreds of images: it passes from 59 on without a change for the worse, from 93 with one.
BUILT_IN: Mapping[str, Policy] = {
    "default": Policy(),
    "small": Policy(max_drop_pp=2.0, max_upper_pp=5.0, min_agreement=0.95),
}


def load_policy(policy_file: Path | None, **given: float | None) -> Policy:
    """The policy from a TOML file, with the settings given on the command line on top.

    Args:
        policy_file: a TOML file or, where no file has that name, the name of a policy in `BUILT_IN`. None looks for
            the table in `pyproject.toml` in the working folder.
        given: settings by their name in `Policy`; None leaves the file's.

    Raises:
        UsageError: the file cannot be read, or a setting is unknown, of another type or out of range.
    """
    name = str(policy_file)
    base, table = Policy(), {}
    if name in BUILT_IN and not Path(name).exists():
        base = BUILT_IN[name]
    elif policy_file or PROJECT.is_file():
        table = _read(policy_file or PROJECT, required=policy_file is not None)
    settings = table | {key: value for key, value in given.items() if value is not None}
    try:
        return replace(base, **{key: SETTINGS[key](value) for key, value in settings.items()})
    except (ValueError, OverflowError) as error:
        raise UsageError(f"The parity policy cannot be: {error}") from error


def _read(path: Path, required: bool) -> dict[str, Any]:
    """The settings in the table of the TOML file `path`."""
    try:
        table = read_tables(path).get("parity")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        if not required:
            raise UsageError(f"Cannot read {path}, which may hold {TABLE}: {why}. Mend it.") from error
        raise UsageError(
            f"Cannot read the policy in {path}: {why}. Give a TOML file or one of {', '.join(BUILT_IN)}."
        ) from error
    if not isinstance(table, dict):
        if required:
            raise UsageError(f"{path} has no table {TABLE}.")
        return {}
    for key, value in table.items():
        if key not in SETTINGS:
            raise UsageError(f"{path}: {TABLE} has no setting {key!r}; known are {', '.join(SETTINGS)}.")
        kind = SETTINGS[key]
        fits = isinstance(value, int | float) and isinstance(value, bool) == (kind is bool)
        if not fits or (kind is int and value % 1 != 0):
            raise UsageError(f"{path}: {key} in {TABLE} must be {WANTED[kind]}, got {value!r}.")
    return table
