"""The decision threshold that serves best, from scores and labels: by cost, by F1, or by a limit on false alarms."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from oddeven.runtime.errors import UsageError

Scores = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.float64]
ThresholdRule = Callable[[Scores, Labels], float]


def threshold_rule(cost: str | None, max_fpr: float | None) -> ThresholdRule | None:
    """The function from scores and labels to a threshold that a command line asks for; None where it asks for none.

    Args:
        cost: such as `fp=10,fn=1`: what a false positive and a false negative cost.
        max_fpr: largest share of label 0 that may be answered 1, 0 to 1.

    Raises:
        UsageError: both are given, or the cost is none.
    """
    if cost is not None and max_fpr is not None:
        raise UsageError("--cost and --max-fpr each choose the threshold; give one of them.")
    if max_fpr is not None:
        return partial(by_max_fpr, max_fpr=max_fpr)
    if cost is None:
        return None
    match = re.fullmatch(r"fp=(\d+\.?\d*),fn=(\d+\.?\d*)", cost)
    false_positive, false_negative = map(float, match.groups()) if match else (0.0, 0.0)
    if min(false_positive, false_negative) <= 0.0:
        raise UsageError(f"--cost {cost} is no cost; say what each mistake costs, such as fp=1,fn=5.")
    return partial(by_cost, false_positive=false_positive, false_negative=false_negative)


def by_cost(p: Scores, labels: Labels, false_positive: float, false_negative: float) -> float:
    """The threshold with the least total cost on these pictures.

    Args:
        p: probability of label 1, (N,), 0 to 1.
        labels: (N,), 0 or 1.
        false_positive: cost of answering 1 where 0 is true.
        false_negative: cost of answering 0 where 1 is true.

    Returns:
        Strictly between 0 and 1; of equally good stretches the widest one's middle.
    """
    thresholds, fp, fn, _ = _candidates(p, labels)
    return _widest(thresholds, -(false_positive * fp + false_negative * fn))


def by_f1(p: Scores, labels: Labels) -> float:
    """The threshold with the greatest F1 of label 1 (van Rijsbergen, 1979). Arguments and result as `by_cost`."""
    thresholds, fp, fn, tp = _candidates(p, labels)
    return _widest(thresholds, 2 * tp / np.maximum(2 * tp + fp + fn, 1))


def by_max_fpr(p: Scores, labels: Labels, max_fpr: float) -> float:
    """The threshold that finds most of label 1 with at most a share `max_fpr` of label 0 answered 1.

    Other arguments and result as `by_cost`.
    """
    thresholds, fp, fn, _ = _candidates(p, labels)
    zeros = max(1, int((labels == 0).sum()))
    return _widest(thresholds, np.where(fp / zeros <= max_fpr, -fn, -np.inf))


def _candidates(p: Scores, labels: Labels) -> tuple[npt.NDArray[np.float64], Counts, Counts, Counts]:
    """Every stretch between neighbouring scores in which a threshold t can lie, answering 1 where p > t.

    Returns:
        Its two ends (K, 2), and its false positives, false negatives and true positives, (K,).
    """
    order = np.argsort(p, kind="stable")
    scores, truth = p[order].astype(np.float64), labels[order].astype(bool)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    ends = np.stack([np.append(0.0, scores[last]), np.append(scores[last], 1.0)], axis=1)
    fn = np.append(0, np.cumsum(truth)[last]).astype(np.float64)
    tn = np.append(0, np.cumsum(~truth)[last]).astype(np.float64)
    room = ends[:, 1] > ends[:, 0]
    return ends[room], ((~truth).sum() - tn)[room], fn[room], (truth.sum() - fn)[room]


def _widest(ends: npt.NDArray[np.float64], gain: npt.NDArray[np.float64]) -> float:
    """The middle of the widest stretch among those with the greatest gain, touching ones joined."""
    best = np.flatnonzero(gain >= gain.max() - 1e-9)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    low, high = max(((ends[run[0], 0], ends[run[-1], 1]) for run in runs), key=lambda run: run[1] - run[0])
    return float(low + high) / 2
