"""The best decision threshold for given probabilities and labels: by cost, by F1, or by a false positive rate."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Probabilities
from oddeven.runtime.errors import UsageError

LARGEST = 1e9  # a cost; sums of it over all images are exact
Floats = npt.NDArray[np.float64]
ThresholdRule = Callable[[Probabilities, Labels], float]


def threshold_rule(cost: str | None, max_fpr: float | None) -> ThresholdRule | None:
    """The threshold rule that the command line asks for; None where it asks for none.

    Args:
        cost: such as `fp=10,fn=1`: what a false positive and a false negative cost.
        max_fpr: largest false positive rate, 0 to 1.

    Raises:
        UsageError: both are given, or the cost is malformed, not positive or over `LARGEST`.
    """
    if cost is not None and max_fpr is not None:
        raise UsageError("--cost and --max-fpr each choose the threshold; give one of them.")
    if max_fpr is not None:
        return partial(by_max_fpr, max_fpr=max_fpr)
    if cost is None:
        return None
    match = re.fullmatch(r"fp=(\d+\.?\d*),fn=(\d+\.?\d*)", cost)
    false_positive, false_negative = map(float, match.groups()) if match else (0.0, 0.0)
    if not 0.0 < min(false_positive, false_negative) <= max(false_positive, false_negative) <= LARGEST:
        raise UsageError(f"--cost {cost} is not a cost; say what each mistake costs, such as fp=1,fn=5.")
    return partial(by_cost, false_positive=false_positive, false_negative=false_negative)


def by_cost(p: Probabilities, labels: Labels, false_positive: float, false_negative: float) -> float:
    """The threshold with the least total cost on these images.

    Args:
        p: probability of label 1, (N,), 0 to 1.
        labels: (N,), 0 or 1.
        false_positive: cost, over 0, of predicting 1 where 0 is true.
        false_negative: cost, over 0, of predicting 0 where 1 is true.

    Returns:
        Strictly between 0 and 1: the middle of the widest range of best thresholds.
    """
    thresholds, fp, fn, _ = _candidates(p, labels)
    unit = min(false_positive, false_negative)  # so that the rounding that `_widest` allows is less than any mistake
    return _widest(thresholds, -(false_positive / unit * fp + false_negative / unit * fn))


def by_f1(p: Probabilities, labels: Labels) -> float:
    """The threshold with the greatest F1 of label 1 (van Rijsbergen, 1979). Arguments and result as `by_cost`."""
    thresholds, fp, fn, tp = _candidates(p, labels)
    return _widest(thresholds, 2 * tp / np.maximum(2 * tp + fp + fn, 1))


def by_max_fpr(p: Probabilities, labels: Labels, max_fpr: float) -> float:
    """The threshold with the most true positives at a false positive rate of at most `max_fpr`, 0 to 1.

    Other arguments and result as `by_cost`.
    """
    thresholds, fp, fn, _ = _candidates(p, labels)
    zeros = max(1, int((labels == 0).sum()))
    return _widest(thresholds, np.where(fp / zeros <= max_fpr, -fn, -np.inf))


def _candidates(p: Probabilities, labels: Labels) -> tuple[Floats, Floats, Floats, Floats]:
    """Every range between neighbouring probabilities in which a threshold t can lie; label 1 is predicted where p > t.

    Returns:
        The ranges' ends (K, 2), and their false positives, false negatives and true positives, each (K,).
    """
    order = np.argsort(p, kind="stable")
    scores, truth = p[order].astype(np.float64), labels[order].astype(bool)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    ends = np.stack([np.append(0.0, scores[last]), np.append(scores[last], 1.0)], axis=1)
    fn = np.append(0, np.cumsum(truth)[last]).astype(np.float64)
    tn = np.append(0, np.cumsum(~truth)[last]).astype(np.float64)
    room = ends[:, 1] > ends[:, 0]
    return ends[room], ((~truth).sum() - tn)[room], fn[room], (truth.sum() - fn)[room]


def _widest(ends: Floats, gain: Floats) -> float:
    """The middle of the widest range among those with the greatest gain, touching ones joined."""
    best = np.flatnonzero(gain >= gain.max() - 1e-9)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    low, high = max(((ends[run[0], 0], ends[run[-1], 1]) for run in runs), key=lambda run: run[1] - run[0])
    return float(low + high) / 2
