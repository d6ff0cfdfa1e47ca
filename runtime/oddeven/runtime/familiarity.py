"""From the raw score of a model's second output to how familiar an image is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from oddeven.runtime.arrays import Array, Familiarities
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.spec import Familiarity, ModelSpec

NAME = "raw_familiarity"  # of the output; it comes after "probability" in the order of names, as converters sort them


def familiarities(raw: Array, meaning: Familiarity) -> Familiarities:
    """The share of validation images that score less than each of `raw`, float32 (N,), 0 to 1.

    Raises:
        ModelError: a score is not a number.
    """
    if np.isnan(raw).any():
        raise ModelError("A score of familiarity is not a number (NaN): the file is damaged, or its features are.")
    return np.interp(raw, meaning.scores, meaning.shares).astype(np.float32)


def with_least(spec: ModelSpec, path: Path, min_familiarity: float) -> ModelSpec:
    """`spec` of the file `path` with another limit.

    Raises:
        UsageError: it is out of range, or the file does not tell how familiar an image is.
    """
    if not 0.0 <= min_familiarity < 1.0:
        raise UsageError(f"min_familiarity is {min_familiarity}; expected a share, at least 0 and below 1.")
    if min_familiarity and not spec.familiarity:
        raise UsageError(f"{path} does not tell how familiar an image is; train and export the model again.")
    return replace(spec, min_familiarity=min_familiarity)
