"""Whether an exported model still answers as its reference does, and how sure that is.

Everything is computed from paired answers: both models on the same labelled pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from oddeven.runtime.check import FAIL, INCONCLUSIVE, PASS, Check, verdict_on, worst
from oddeven.runtime.paired import drop_interval, mcnemar
from oddeven.runtime.scores import Labels, Probabilities, Scores, scores

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
        max_bytes: largest size of a file; 0 for any.
        ties: by precision, for files that must answer alike; any other precision falls under the limits above.
    """

    max_drop_pp: float = 0.10
    max_upper_pp: float = 0.30
    min_agreement: float = 0.998
    confidence: float = 0.95
    max_bytes: int = 0
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
        checks: what was judged, each for itself.
        verdict: the worst of them: PASS, FAIL or INCONCLUSIVE.
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
    checks: tuple[Check, ...]
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
    reference_threshold: float | None = None,
) -> Parity:
    """Compare two models' probabilities of label 1 on the same pictures.

    Args:
        reference, answers: float32 (N,), 0 to 1.
        labels: uint8 (N,), 0 or 1.
        slices: str (N,), the group each picture is reported under.
        threshold: strictly above it the answer is label 1.
        precision: of the file; one in `policy.ties` must answer alike, any other within the policy's limits.
        policy: what is allowed.
        reference_threshold: of the reference, where that is another.

    Raises:
        ValueError: the lengths differ, there is no picture, or a probability is not a number from 0 to 1.
    """
    if not len(reference) == len(answers) == len(labels) == len(slices) or not len(labels):
        raise ValueError(f"{len(reference)} reference, {len(answers)} answers and {len(labels)} labels do not pair up")
    for values in (reference, answers):
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            raise ValueError("a probability is not a number from 0 to 1")
    truth = labels.astype(bool)
    cut = threshold if reference_threshold is None else reference_threshold
    reference_right, right = (reference > cut) == truth, (answers > threshold) == truth
    lost, won = int((reference_right & ~right).sum()), int((~reference_right & right).sum())
    low, high = drop_interval(lost, won, len(truth), policy.confidence)
    shift = np.abs(reference - answers)
    drop_pp, agreement = 100.0 * (lost - won) / len(truth), 1.0 - (lost + won) / len(truth)
    changed = np.flatnonzero(reference_right != right)
    before, after = scores(reference, labels, cut), scores(answers, labels, threshold)
    checks = [*_sanity(before)]
    if tie := policy.ties.get(precision):
        margin = np.abs(reference[changed] - cut)
        excused = (margin < tie.margin) & (shift[changed] <= tie.step)
        checks.append(_alike(int((~excused).sum()), int(excused.sum())))
    else:
        checks.append(_accuracy(drop_pp, 100 * low, 100 * high, len(truth), policy))
        checks.append(_agreement(agreement, policy))
    groups = {str(name): slices == name for name in np.unique(slices)}
    checks.append(_slices(groups, reference_right, right, policy))
    deciding = worst(checks)
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
        slices=tuple(_slice(name, members, reference_right, right) for name, members in groups.items()),
        changes=tuple(
            Change(int(i), int(labels[i]), float(reference[i]), float(answers[i]))
            for i in sorted(changed, key=lambda i: abs(float(reference[i]) - cut))
        ),
        checks=tuple(checks),
        verdict=deciding.verdict,
        reason=deciding.reason,
    )


def _slice(
    name: str, members: npt.NDArray[np.bool_], reference_right: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]
) -> SliceParity:
    before, after = reference_right[members], right[members]
    return SliceParity(
        name=name,
        count=int(members.sum()),
        reference_accuracy=float(before.mean()),
        accuracy=float(after.mean()),
        drop_pp=100.0 * float(before.mean() - after.mean()),
        agreement=float((before == after).mean()),
    )


def _sanity(reference: Scores) -> Iterator[Check]:
    """A reference that is worse than chance proves nothing."""
    if reference.auc is not None and reference.auc < 0.5:
        yield Check(
            "reference",
            FAIL,
            f"The reference itself ranks the labels the wrong way round (AUC {reference.auc:.3f}).",
            "Look for swapped labels or another preprocessing.",
        )


def _alike(differing: int, excused: int) -> Check:
    """The verdict on a file that must answer as its reference does."""
    if differing:
        reason = f"A float file must answer as its reference does; {differing} answers differ."
        return Check("float equality", FAIL, reason, "Export it again; if that changes nothing, report a bug.")
    if excused:
        reason = f"Every answer is the reference's but {excused} at the threshold, by rounding."
        return Check("float equality", PASS, reason)
    return Check("float equality", PASS, "Every answer is the reference's.")


MEND = "Look at the changed pictures in the HTML report; raise --calibration-size, or ship a float file of this model."


def _agreement(agreement: float, policy: Policy) -> Check:
    least = policy.min_agreement
    return verdict_on(
        "agreement", agreement >= least, f"Agreement is {agreement:.2%}; the least allowed is {least:.2%}.", MEND
    )


def _accuracy(drop_pp: float, low_pp: float, high_pp: float, count: int, policy: Policy) -> Check:
    """The verdict on the drop in accuracy."""
    if low_pp > policy.max_drop_pp:
        reason = f"The drop is at least {low_pp:.2f} pp; allowed is {policy.max_drop_pp:.2f} pp."
        return Check("accuracy", FAIL, reason, MEND)
    if drop_pp <= policy.max_drop_pp and high_pp <= policy.max_upper_pp:
        reason = f"The drop is at most {high_pp:.2f} pp at {policy.confidence:.0%} confidence."
        return Check("accuracy", PASS, reason)
    limit_pp = policy.max_upper_pp if drop_pp <= policy.max_drop_pp else policy.max_drop_pp
    half_pp = (high_pp - low_pp) / 2.0
    # The half-width shrinks with the square root of the number of pictures, until it fits between drop and limit.
    gap_pp = abs(limit_pp - drop_pp)
    more = (
        f"about {math.ceil(count * (half_pp / gap_pp) ** 2):,} pictures would settle it"
        if gap_pp
        else "no number of pictures would settle it"
    )
    reason = f"The drop lies between {low_pp:.2f} and {high_pp:.2f} pp, around the limit {limit_pp:.2f} pp; {more}."
    return Check("accuracy", INCONCLUSIVE, reason, "Test on more pictures, or allow more with --max-drop, --max-upper.")


def _slices(
    groups: Mapping[str, npt.NDArray[np.bool_]],
    reference_right: npt.NDArray[np.bool_],
    right: npt.NDArray[np.bool_],
    policy: Policy,
) -> Check:
    """Whether no group of pictures surely loses more than all together may.

    There is an interval for each group, so each gets a share of the risk of a false alarm (Bonferroni).
    """
    confidence = 1.0 - (1.0 - policy.confidence) / len(groups)
    losing = []
    for name, members in groups.items():
        before, after = reference_right[members], right[members]
        lost, won = int((before & ~after).sum()), int((~before & after).sum())
        low, _ = drop_interval(lost, won, len(before), confidence)
        if 100 * low > policy.max_drop_pp:
            losing.append(f"{name} ({lost} of {len(before):,} lost, {won} won)")
    reason = f"In no slice the drop is surely over {policy.max_drop_pp:.2f} pp."
    if losing:
        reason = f"The drop is surely over {policy.max_drop_pp:.2f} pp in the slices {', '.join(losing)}."
    return verdict_on("slices", not losing, reason, MEND)
