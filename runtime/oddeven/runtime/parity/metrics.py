"""Metrics of one model's probabilities: accuracy, AUC, log loss and calibration error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oddeven.runtime.arrays import Labels, Probabilities


@dataclass(frozen=True)
class Metrics:
    """How good one model's probabilities are.

    Attributes:
        accuracy: 0 to 1.
        auc: area under the ROC curve, 0 to 1; None where only one label occurs.
        log_loss: mean negative log-likelihood in nats, probabilities clipped to 1e-7 from 0 and 1 as Keras does.
        calibration_error: expected calibration error, 0 to 1.
    """

    accuracy: float
    auc: float | None
    log_loss: float
    calibration_error: float


def compute_metrics(p: Probabilities, labels: Labels, threshold: float) -> Metrics:
    """The metrics of the probabilities `p` of label 1 for `labels`; shapes (N,)."""
    truth = labels.astype(bool)
    p_true = np.clip(np.where(truth, p, 1.0 - p).astype(np.float64), 1e-7, 1.0)
    return Metrics(
        accuracy=float(((p > threshold) == truth).mean()),
        auc=auc(p, labels),
        log_loss=float(-np.log(p_true).mean()),
        calibration_error=calibration_error(p, labels),
    )


def auc(p: Probabilities, labels: Labels) -> float | None:
    """Area under the ROC curve: the share of (1, 0) pairs that `p` puts in order, ties counting half.

    Computed from the rank sum of Mann and Whitney (1947). None where only one label occurs.
    """
    truth = labels.astype(bool)
    ones, zeros = int(truth.sum()), int((~truth).sum())
    if not ones or not zeros:
        return None
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = float(mean_rank[inverse][truth].sum())
    return (rank_sum - ones * (ones + 1) / 2.0) / (ones * zeros)


def chance_of_auc(p: Probabilities, labels: Labels) -> float:
    """How likely so low an AUC is where `p` says nothing of the labels; 1 where only one label occurs.

    The one-sided test of Mann and Whitney (1947), by the normal distribution with a correction for continuity: half the
    largest step between neighbouring rank sums, which grows with the ties.

    Source: Lehmann (1975), Nonparametrics: statistical methods based on ranks, section 1.4 for the variance with ties.
    """
    area, count = auc(p, labels), len(p)
    pairs = int(labels.sum()) * (count - int(labels.sum()))
    tied = np.unique(p, return_counts=True)[1].astype(np.float64)
    if area is None or len(tied) == 1:
        return 1.0
    variance = pairs / 12.0 * (count + 1 - float((tied**3 - tied).sum()) / (count * (count - 1)))
    half_step = float((tied[:-1] + tied[1:]).max()) / 4.0
    return 0.5 * math.erfc((pairs * (0.5 - area) - half_step) / math.sqrt(2.0 * variance))


def calibration_error(p: Probabilities, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error: over equal bins of `p`, the mean distance of mean `p` from the share of label 1.

    Source: Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
    """
    member = np.minimum((p.astype(np.float64) * bins).astype(int), bins - 1)
    predicted = np.bincount(member, weights=p, minlength=bins)
    observed = np.bincount(member, weights=labels, minlength=bins)
    return float(np.abs(predicted - observed).sum() / len(p))
