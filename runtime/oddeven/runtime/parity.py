"""Whether an exported model still answers as its reference does, and how sure that is.

Everything is computed from paired answers: both models on the same labelled pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Slices = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Tie:
    """Where a file of real weights may change an answer: by rounding, at the threshold, and nowhere else.

    Attributes:
        margin: the reference's probability is nearer than this to the threshold.
        step: and moved by no more than this.
    """

    margin: float
    step: float


# A float32 sum differs by the order of its terms only. A float16 weight is off by 2**-11 of itself at most, so a logit
# whose terms add up to A in absolute value is off by A * 2**-11 a layer, and a probability near one half by a quarter
# of that. Near the threshold A is at most 24 for the shipped models; A = 32 and 4 layers give 2**-6.
TIES: Mapping[str, Tie] = {
    "float32": Tie(margin=1e-4, step=1e-5),
    "float16": Tie(margin=2**-6, step=2**-6),
}


@dataclass(frozen=True)
class Policy:
    """What a file is allowed.

    Attributes:
        max_drop_pp: largest observed drop in accuracy, in percentage points.
        max_upper_pp: largest upper confidence limit of the drop, in percentage points.
        min_agreement: least share of pictures with the same answer, 0 to 1.
        confidence: of the interval, 0 to 1.
        ties: by precision, for files that must answer alike; any other precision falls under the limits above.
    """

    max_drop_pp: float = 0.10
    max_upper_pp: float = 0.30
    min_agreement: float = 0.998
    confidence: float = 0.95
    ties: Mapping[str, Tie] = field(default_factory=lambda: TIES)

    def __post_init__(self) -> None:
        """Refuse limits that no file could be held to (ValueError)."""
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"the confidence {self.confidence} must lie between 0 and 1.")
        if not 0.0 <= self.min_agreement <= 1.0:
            raise ValueError(f"the least agreement {self.min_agreement} must be a share from 0 to 1.")
        if not 0.0 <= self.max_drop_pp <= self.max_upper_pp:
            raise ValueError(
                f"the allowed drop, {self.max_drop_pp} pp, must lie between 0 and its allowed upper limit, "
                f"{self.max_upper_pp} pp."
            )


@dataclass(frozen=True)
class Scores:
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


@dataclass(frozen=True)
class SliceParity:
    """The comparison over one group of pictures; fields as in `Parity`."""

    name: str
    count: int
    reference_accuracy: float
    accuracy: float
    drop_pp: float
    agreement: float


@dataclass(frozen=True)
class Change:
    """A picture whose answer changed: its position in the reference, its label, and both probabilities."""

    position: int
    label: int
    reference: float
    answer: float


@dataclass(frozen=True)
class Parity:
    """The comparison of one file with its reference over all test pictures.

    Attributes:
        count: pictures compared.
        reference, file: each model's own scores.
        drop_pp: accuracy of the reference minus the file's, percentage points; `drop_low_pp` to `drop_high_pp` is its
            interval.
        mcnemar_p: exact two-sided p value of the hypothesis that both are equally accurate.
        agreement: share of equal answers, 0 to 1.
        right_to_wrong, wrong_to_right: pictures whose answer changed, by what became of it.
        max_shift, mean_shift: absolute difference in probability.
        slices: the same per group of pictures.
        changes: the pictures whose answer changed, the nearest to the threshold first.
        verdict: PASS, FAIL or INCONCLUSIVE.
        reason: one sentence that says why.
    """

    count: int
    reference: Scores
    file: Scores
    drop_pp: float
    drop_low_pp: float
    drop_high_pp: float
    mcnemar_p: float
    agreement: float
    right_to_wrong: int
    wrong_to_right: int
    max_shift: float
    mean_shift: float
    slices: tuple[SliceParity, ...]
    changes: tuple[Change, ...]
    verdict: str
    reason: str


def compare(
    reference: Probabilities,
    answers: Probabilities,
    labels: Labels,
    slices: Slices,
    threshold: float,
    precision: str,
    policy: Policy,
) -> Parity:
    """Compare two models' probabilities of label 1 on the same pictures.

    Args:
        reference, answers: float32 (N,), 0 to 1.
        labels: uint8 (N,), 0 or 1.
        slices: str (N,), the group each picture is reported under.
        threshold: strictly above it the answer is label 1.
        precision: of the file; one in `policy.ties` must answer alike, any other within the policy's limits.
        policy: what is allowed.

    Raises:
        ValueError: the lengths differ, there is no picture, or a probability is not a number from 0 to 1.
    """
    if not len(reference) == len(answers) == len(labels) == len(slices) or not len(labels):
        raise ValueError(f"{len(reference)} reference, {len(answers)} answers and {len(labels)} labels do not pair up")
    for values in (reference, answers):
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            raise ValueError("a probability is not a number from 0 to 1")
    truth = labels.astype(bool)
    reference_right, right = (reference > threshold) == truth, (answers > threshold) == truth
    lost, won = int((reference_right & ~right).sum()), int((~reference_right & right).sum())
    low, high = drop_interval(lost, won, len(truth), policy.confidence)
    shift = np.abs(reference - answers)
    drop_pp, agreement = 100.0 * (lost - won) / len(truth), 1.0 - (lost + won) / len(truth)
    changed = np.flatnonzero(reference_right != right)
    before, after = scores(reference, labels, threshold), scores(answers, labels, threshold)
    if before.auc is not None and before.auc < 0.5:
        verdict, reason = (
            FAIL,
            (
                f"The reference itself ranks the labels the wrong way round (AUC {before.auc:.3f}); "
                "look for swapped labels or another preprocessing."
            ),
        )
    elif tie := policy.ties.get(precision):
        margin = np.abs(reference[changed] - threshold)
        excused = (margin < tie.margin) & (shift[changed] <= tie.step)
        verdict, reason = _judge_alike(int((~excused).sum()), int(excused.sum()))
    else:
        verdict, reason = _judge(drop_pp, 100 * low, 100 * high, agreement, len(truth), policy)
    return Parity(
        count=len(truth),
        reference=before,
        file=after,
        drop_pp=drop_pp,
        drop_low_pp=100 * low,
        drop_high_pp=100 * high,
        mcnemar_p=mcnemar(lost, won),
        agreement=agreement,
        right_to_wrong=lost,
        wrong_to_right=won,
        max_shift=float(shift.max()),
        mean_shift=float(shift.mean()),
        slices=tuple(_slice(name, slices == name, reference_right, right) for name in np.unique(slices)),
        changes=tuple(
            Change(int(i), int(labels[i]), float(reference[i]), float(answers[i]))
            for i in sorted(changed, key=lambda i: abs(float(reference[i]) - threshold))
        ),
        verdict=verdict,
        reason=reason,
    )


def _slice(
    name: np.str_, members: npt.NDArray[np.bool_], reference_right: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]
) -> SliceParity:
    before, after = reference_right[members], right[members]
    return SliceParity(
        name=str(name),
        count=int(members.sum()),
        reference_accuracy=float(before.mean()),
        accuracy=float(after.mean()),
        drop_pp=100.0 * float(before.mean() - after.mean()),
        agreement=float((before == after).mean()),
    )


def scores(p: Probabilities, labels: Labels, threshold: float) -> Scores:
    """How good the probabilities `p` of label 1 are for `labels`; shapes (N,)."""
    truth = labels.astype(bool)
    p_true = np.clip(np.where(truth, p, 1.0 - p).astype(np.float64), 1e-7, 1.0)
    return Scores(
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


def calibration_error(p: Probabilities, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error: over equal bins of `p`, the mean distance of mean `p` from the share of label 1.

    Source: Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
    """
    member = np.minimum((p.astype(np.float64) * bins).astype(int), bins - 1)
    said = np.bincount(member, weights=p, minlength=bins)
    happened = np.bincount(member, weights=labels, minlength=bins)
    return float(np.abs(said - happened).sum() / len(p))


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p value of McNemar's test (1947): under equal accuracy, `lost` is binomial(lost + won, 1/2)."""
    changed = lost + won
    tail = term = 1
    for k in range(1, min(lost, won) + 1):
        term = term * (changed - k + 1) // k
        tail += term
    return min(1.0, float(2 * tail / 2**changed))


def drop_interval(lost: int, won: int, count: int, confidence: float) -> tuple[float, float]:
    """Confidence interval of the drop in accuracy between two models on the same `count` pictures.

    The adjusted Wald interval for a difference of paired proportions: one picture is added to each kind of
    disagreement, which keeps the coverage near nominal even where there are none.

    Source: Bonett and Price (2012), Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data, Journal of Educational and Behavioral Statistics 37(4), 479-488.

    Args:
        lost: pictures that only the reference gets right.
        won: pictures that only the other gets right.
        count: all pictures.
        confidence: 0 to 1.

    Returns:
        Lower and upper limit as shares, -1 to 1; positive is a loss.
    """
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    p_lost, p_won = (lost + 1) / (count + 2), (won + 1) / (count + 2)
    centre = p_lost - p_won
    half = z * math.sqrt((p_lost + p_won - centre**2) / (count + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)


def _judge_alike(differing: int, excused: int) -> tuple[str, str]:
    """The verdict on a file that must answer as its reference does."""
    if differing:
        return FAIL, f"A float file must answer as its reference does; {differing} answers differ."
    if excused:
        return PASS, f"Every answer is the reference's but {excused} at the threshold, by rounding."
    return PASS, "Every answer is the reference's."


def _judge(
    drop_pp: float, low_pp: float, high_pp: float, agreement: float, count: int, policy: Policy
) -> tuple[str, str]:
    """The verdict on a quantized file, and why."""
    if agreement < policy.min_agreement:
        return FAIL, f"Agreement is {agreement:.2%}; the least allowed is {policy.min_agreement:.2%}."
    if low_pp > policy.max_drop_pp:
        return FAIL, f"The drop is at least {low_pp:.2f} pp; allowed is {policy.max_drop_pp:.2f} pp."
    if drop_pp <= policy.max_drop_pp and high_pp <= policy.max_upper_pp:
        return PASS, f"The drop is at most {high_pp:.2f} pp at {policy.confidence:.0%} confidence."
    limit_pp = policy.max_upper_pp if drop_pp <= policy.max_drop_pp else policy.max_drop_pp
    half_pp = (high_pp - low_pp) / 2.0
    # The half-width shrinks with the square root of the number of pictures, until it fits between drop and limit.
    gap_pp = abs(limit_pp - drop_pp)
    more = (
        f"about {math.ceil(count * (half_pp / gap_pp) ** 2):,} pictures would settle it"
        if gap_pp
        else "no number of pictures would settle it"
    )
    return (
        INCONCLUSIVE,
        f"The drop lies between {low_pp:.2f} and {high_pp:.2f} pp, around the limit {limit_pp:.2f} pp; {more}.",
    )
