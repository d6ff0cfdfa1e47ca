"""What the caller of a model wants instead of what its spec says."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path

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
    spec = with_threshold(replace(spec, input=view), spec.threshold if threshold is None else threshold)
    if locale is not None:
        names = spec.display_names
        spec = replace(spec, labels=names[choose(f"language of {path.name}", locale, names)])
    if min_familiarity is None:
        return spec
    check_number("min_familiarity", min_familiarity)
    if not 0.0 <= min_familiarity < 1.0:
        raise UsageError(f"min_familiarity is {min_familiarity}; expected a share, at least 0 and below 1.")
    if min_familiarity and not spec.familiarity:
        raise UsageError(f"{path} does not tell how familiar an image is; train and export the model again.")
    return replace(spec, min_familiarity=min_familiarity)


def with_threshold(spec: ModelSpec, threshold: float) -> ModelSpec:
    """`spec` with another decision threshold.

    Raises:
        UsageError: it is no number between 0 and 1.
    """
    check_number("threshold", threshold)
    try:
        return replace(spec, threshold=threshold)
    except ValueError as error:
        raise UsageError(f"Not possible: {error}") from error


def check_number(name: str, value: object, whole: bool = False) -> None:
    """Refuse what is no number, or no whole one (UsageError)."""
    if not isinstance(value, Integral if whole else Real):
        raise UsageError(f"{name} is {value!r}; expected a {'whole ' if whole else ''}number.")
