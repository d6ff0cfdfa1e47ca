"""From the raw score of a model's second output to how familiar an image is."""

from __future__ import annotations

import numpy as np

from oddeven.runtime.arrays import Array, Familiarities
from oddeven.runtime.errors import ModelError
from oddeven.runtime.spec import Familiarity

NAME = "raw_familiarity"  # of the output; it comes after "probability" in the order of names, as converters sort them


def familiarities(raw: Array, meaning: Familiarity) -> Familiarities:
    """The share of validation images that score less than each of `raw`, float32 (N,), 0 to 1.

    Raises:
        ModelError: a score is not a number.
    """
    if np.isnan(raw).any():
        raise ModelError("A score of familiarity is not a number (NaN): the file is damaged, or its features are.")
    return np.interp(raw, meaning.scores, meaning.shares).astype(np.float32)
