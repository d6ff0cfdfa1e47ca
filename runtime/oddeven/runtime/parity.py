"""Whether an exported model still answers as its reference does, and how sure that is.

Everything is computed from paired answers: both models on the same labelled pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Policy:
    """What a quantized file is allowed.

    Attributes:
        max_drop_pp: largest observed drop in accuracy, in percentage points.
        max_upper_pp: largest upper confidence limit of the drop, in percentage points.
        min_agreement: least share of pictures with the same answer, 0 to 1.
        confidence: of the interval, 0 to 1.
        tie_margin, tie_step: a float32 file may change an answer only where the reference's probability is nearer
            than `tie_margin` to the threshold and moved by no more than `tie_step`.
    """

    max_drop_pp: float = 0.10
    max_upper_pp: float = 0.30
    min_agreement: float = 0.998
    confidence: float = 0.95
    tie_margin: float = 1e-4
    tie_step: float = 1e-5


@dataclass(frozen=True)
class Parity:
    """The comparison of one file with its reference over all test pictures.

    Attributes:
        count: pictures compared.
        reference_accuracy, accuracy: 0 to 1.
        drop_pp: reference minus file, percentage points; `drop_low_pp` to `drop_high_pp` is its interval.
        agreement: share of equal answers, 0 to 1.
        right_to_wrong, wrong_to_right: pictures whose answer changed, by what became of it.
        max_shift: largest absolute difference in probability.
        verdict: PASS, FAIL or INCONCLUSIVE.
        reason: one sentence that says why.
    """

    count: int
    reference_accuracy: float
    accuracy: float
    drop_pp: float
    drop_low_pp: float
    drop_high_pp: float
    agreement: float
    right_to_wrong: int
    wrong_to_right: int
    max_shift: float
    verdict: str
    reason: str


def compare(
    reference: Probabilities,
    answers: Probabilities,
    labels: Labels,
    threshold: float,
    precision: str,
    policy: Policy,
) -> Parity:
    """Compare two models' probabilities of label 1 on the same pictures.

    Args:
        reference, answers: float32 (N,), 0 to 1.
        labels: uint8 (N,), 0 or 1.
        threshold: strictly above it the answer is label 1.
        precision: of the file; `float32` must answer alike, anything else within the policy.
        policy: what is allowed.

    Raises:
        ValueError: the lengths differ, there is no picture, or a probability is not a number from 0 to 1.
    """
    if not len(reference) == len(answers) == len(labels) or not len(labels):
        raise ValueError(f"{len(reference)} reference, {len(answers)} answers and {len(labels)} labels do not pair up")
    for values in (reference, answers):
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            raise ValueError("a probability is not a number from 0 to 1")
    truth = labels.astype(bool)
    reference_right, right = (reference > threshold) == truth, (answers > threshold) == truth
    lost, won = int((reference_right & ~right).sum()), int((~reference_right & right).sum())
    low, high = drop_interval(lost, won, len(truth), policy.confidence)
    shift = np.abs(reference - answers)
    excused = (np.abs(reference - threshold) < policy.tie_margin) & (shift <= policy.tie_step)
    unexcused = int(((reference_right != right) & ~excused).sum())
    drop_pp, agreement = 100.0 * (lost - won) / len(truth), 1.0 - (lost + won) / len(truth)
    if precision == "float32":
        verdict, reason = _judge_float(unexcused)
    else:
        verdict, reason = _judge(drop_pp, 100 * low, 100 * high, agreement, len(truth), policy)
    return Parity(
        count=len(truth),
        reference_accuracy=float(reference_right.mean()),
        accuracy=float(right.mean()),
        drop_pp=drop_pp,
        drop_low_pp=100 * low,
        drop_high_pp=100 * high,
        agreement=agreement,
        right_to_wrong=lost,
        wrong_to_right=won,
        max_shift=float(shift.max()),
        verdict=verdict,
        reason=reason,
    )


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


def _judge_float(unexcused: int) -> tuple[str, str]:
    if unexcused:
        return FAIL, f"A float file must answer as its reference does; {unexcused} answers differ."
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
