"""What the caller of a model wants instead of what its spec says."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from oddeven.runtime.errors import UsageError, choose
from oddeven.runtime.images.preprocess import PREPROCESSINGS
from oddeven.runtime.spec import ModelSpec


def overridden(
    spec: ModelSpec,
    path: Path,
    preprocess: str,
    threshold: float | None,
    locale: str | None,
    min_familiarity: float | None,
) -> ModelSpec:
    """`spec`, of the file `path`, with what is not None or `auto`, as `Classifier.load` describes it.

    Raises:
        UsageError: an option is unknown or out of range, or the file does not tell how familiar an image is.
    """
    name = spec.input.preprocessing if preprocess == "auto" else preprocess
    view = replace(spec.input, preprocessing=choose("preprocessing", name, PREPROCESSINGS))
    given = {"threshold": threshold, "min_familiarity": min_familiarity}
    spec = with_limits(replace(spec, input=view), **{name: value for name, value in given.items() if value is not None})
    if min_familiarity and not spec.familiarity:
        raise UsageError(f"{path} does not tell how familiar an image is; train and export the model again.")
    if locale is None:
        return spec
    names = spec.display_names
    return replace(spec, labels=names[choose(f"language of {path.name}", locale, names)])


def with_limits(spec: ModelSpec, **limits: Any) -> ModelSpec:
    """`spec` with another `threshold` or `min_familiarity`.

    Raises:
        UsageError: one is no number, or out of range.
    """
    for name, value in limits.items():
        check_number(name, value)
    try:
        return replace(spec, **limits)
    except ValueError as error:
        raise UsageError(f"Not possible: {error}") from error


def check_number(name: str, value: object, whole: bool = False) -> None:
    """Refuse what is no number, or no whole one (UsageError)."""
    if not isinstance(value, Integral if whole else Real):
        raise UsageError(f"{name} is {value!r}; expected a {'whole ' if whole else ''}number.")
