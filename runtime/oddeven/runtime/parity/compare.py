"""Whether an exported model still answers as its reference does, and how sure that is.

Everything is computed from paired answers: both models on the same pictures, labelled or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Probabilities
from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS, Check, verdict_on, worst
from oddeven.runtime.parity.metrics import Metrics, compute_metrics
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.sample_size import images_needed
from oddeven.runtime.parity.statistics import drop_interval, mcnemar
from oddeven.runtime.parity.verdict import Counts, Verdict, judge

Slices = npt.NDArray[np.str_]
Answers = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SliceParity:
    """The comparison over one group of pictures; fields as in `Parity`, and None without labels as there."""

    name: str
    count: int
    reference_accuracy: float | None
    accuracy: float | None
    drop_pp: float | None
    agreement: float


@dataclass(frozen=True)
class Change:
    """A picture whose answer changed: its position in the reference, its label if known, and both probabilities."""

    position: int
    label: int | None
    reference: float
    answer: float


@dataclass(frozen=True)
class Parity:
    """The comparison of one file with its reference over all test pictures.

    What rests on labels is None where the pictures have none: the metrics, the drop and its limits, McNemar's test, and
    what became of the changed answers.

    Attributes:
        count: pictures compared.
        reference, file: each model's own scores.
        drop_pp: accuracy of the reference minus the file's, percentage points; `drop_low_pp` and `drop_high_pp` are its
            one-sided confidence limits.
        mcnemar_p: exact two-sided p value of the hypothesis that both are equally accurate.
        agreement: share of equal answers, 0 to 1.
        right_to_wrong, wrong_to_right: pictures whose answer changed, by what became of it.
        max_shift, mean_shift: absolute difference in probability.
        slices: the same per group of pictures.
        changes: the pictures whose answer changed, the nearest to the threshold first.
        checks: what was judged, each for itself.
        verdict: the worst of them: PASS, FAIL or INCONCLUSIVE.
        reason: one sentence that says why.
        changed_low, changed_high: one-sided confidence limits of the share of answers that change and count against
            agreement, 0 to 1; in reports from before they were written, all that is known without them.
    """

    count: int
    reference: Metrics | None
    file: Metrics | None
    drop_pp: float | None
    drop_low_pp: float | None
    drop_high_pp: float | None
    mcnemar_p: float | None
    agreement: float
    right_to_wrong: int | None
    wrong_to_right: int | None
    max_shift: float
    mean_shift: float
    slices: tuple[SliceParity, ...]
    changes: tuple[Change, ...]
    checks: tuple[Check, ...]
    verdict: str
    reason: str
    changed_low: float = 0.0
    changed_high: float = 1.0

    @property
    def reference_accuracy(self) -> float | None:
        """0 to 1; None without labels."""
        return self.reference.accuracy if self.reference else None

    @property
    def accuracy(self) -> float | None:
        """Of the file, 0 to 1; None without labels."""
        return self.file.accuracy if self.file else None


def compare(
    reference: Probabilities,
    answers: Probabilities,
    labels: Labels | None,
    slices: Slices,
    threshold: float,
    precision: str,
    policy: Policy,
    reference_threshold: float | None = None,
) -> Parity:
    """Compare two models' probabilities of label 1 on the same pictures.

    Args:
        reference, answers: float32 (N,), 0 to 1.
        labels: uint8 (N,), 0 or 1; None where they are not known.
        slices: str (N,), the group each picture is reported under.
        threshold: strictly above it the answer is label 1.
        precision: of the file; one in `policy.ties` must answer alike, any other within the policy's limits.
        policy: what is allowed.
        reference_threshold: of the reference, where that is another.

    Raises:
        ValueError: the lengths differ, there is no picture, or a probability is not a number from 0 to 1.
    """
    lengths = {len(reference), len(answers), len(slices), len(reference if labels is None else labels)}
    if len(lengths) > 1 or not len(reference):
        given = "no" if labels is None else len(labels)
        raise ValueError(f"{len(reference)} reference, {len(answers)} answers and {given} labels do not pair up")
    for values in (reference, answers):
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            raise ValueError("a probability is not a number from 0 to 1")
    cut = threshold if reference_threshold is None else reference_threshold
    said, says = reference > cut, answers > threshold
    counts = _counts(said, says, labels)
    verdict = judge(counts, policy)
    before = after = None
    checks: list[Check] = []
    if labels is not None:
        before, after = compute_metrics(reference, labels, cut), compute_metrics(answers, labels, threshold)
        checks += _sanity(before)
    shift, changed = np.abs(reference - answers), np.flatnonzero(said != says)
    if tie := policy.ties.get(precision):
        margin = np.abs(reference[changed] - cut)
        excused = (margin < tie.margin) & (shift[changed] <= tie.step)
        checks.append(_alike(int((~excused).sum()), int(excused.sum())))
    else:
        checks += _judged(counts, verdict, policy)
    members = {str(name): slices == name for name in np.unique(slices)}
    groups = {name: (said[own], says[own], None if labels is None else labels[own]) for name, own in members.items()}
    if labels is not None:
        checks.append(_slices({name: _counts(*group) for name, group in groups.items()}, policy))
    deciding = worst(checks)
    low_pp, high_pp = verdict.drop_pp or (None, None)
    return Parity(
        count=counts.count,
        reference=before,
        file=after,
        drop_pp=counts.drop_pp,
        drop_low_pp=low_pp,
        drop_high_pp=high_pp,
        mcnemar_p=None if counts.lost is None or counts.won is None else mcnemar(counts.lost, counts.won),
        agreement=counts.agreement,
        right_to_wrong=counts.lost,
        wrong_to_right=counts.won,
        max_shift=float(shift.max()),
        mean_shift=float(shift.mean()),
        slices=tuple(_slice(name, *group) for name, group in groups.items()),
        changes=tuple(
            Change(int(i), None if labels is None else int(labels[i]), float(reference[i]), float(answers[i]))
            for i in sorted(changed, key=lambda i: abs(float(reference[i]) - cut))
        ),
        checks=tuple(checks),
        verdict=deciding.verdict,
        reason=deciding.reason,
        changed_low=verdict.changed[0],
        changed_high=verdict.changed[1],
    )


def _counts(said: Answers, says: Answers, labels: Labels | None) -> Counts:
    """How the answers of the reference, `said`, and of the file, `says`, differ; bool (N,)."""
    changed = said != says
    lost = None if labels is None else int((changed & (said == labels.astype(bool))).sum())
    return Counts(len(said), int(changed.sum()), lost)


def _slice(name: str, said: Answers, says: Answers, labels: Labels | None) -> SliceParity:
    counts = _counts(said, says, labels)
    return SliceParity(
        name=name,
        count=counts.count,
        reference_accuracy=None if labels is None else float((said == labels).mean()),
        accuracy=None if labels is None else float((says == labels).mean()),
        drop_pp=counts.drop_pp,
        agreement=counts.agreement,
    )


def _sanity(reference: Metrics) -> Iterator[Check]:
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


# The shipped models' files change 0.00 % to 0.02 % of their predictions, those of freshly trained ones up to 0.05 %.
GOOD, POWER = 0.0005, 0.8
ALLOW = "Or allow more, by --policy small or by limits of your own."
MEND = "Look at the changed pictures in the HTML report; raise --calibration-size, or ship a float file of this model."


def _judged(counts: Counts, verdict: Verdict, policy: Policy) -> Iterator[Check]:
    """The checks of a file that may change some answers, with their reasons in words."""
    advice = {PASS: "", FAIL: MEND, INCONCLUSIVE: ""}
    if verdict.overall == INCONCLUSIVE:
        advice[INCONCLUSIVE] = _needed(counts, policy)
    sure = f"at {100 * policy.confidence:g}% confidence"
    if verdict.accuracy is not None and verdict.drop_pp is not None:
        yield Check("accuracy", verdict.accuracy, _drop(counts, verdict, policy, sure), advice[verdict.accuracy])
    yield Check("agreement", verdict.agreement, _changed(counts, verdict, policy, sure), advice[verdict.agreement])


def _drop(counts: Counts, verdict: Verdict, policy: Policy, sure: str) -> str:
    low_pp, high_pp = verdict.drop_pp or (0.0, 0.0)
    if verdict.accuracy == FAIL:
        return f"The drop is at least {low_pp:.2f} pp {sure}; allowed is {policy.max_drop_pp:.2f} pp."
    if verdict.accuracy == PASS:
        return f"The drop is at most {high_pp:.2f} pp {sure}; allowed is {policy.max_upper_pp:.2f} pp."
    if (counts.drop_pp or 0.0) > policy.max_drop_pp:
        found = f"The drop is {counts.drop_pp:.2f} pp here, over the {policy.max_drop_pp:.2f} pp allowed"
        return f"{found}, but may be as small as {low_pp:.2f} pp {sure}."
    return f"The drop may be as large as {high_pp:.2f} pp {sure}; allowed is {policy.max_upper_pp:.2f} pp."


def _changed(counts: Counts, verdict: Verdict, policy: Policy, sure: str) -> str:
    how = ""
    if counts.lost is not None and not policy.count_gains:
        how = f" for the worse, {counts.won:,} for the better" if counts.won else " for the worse"
    found = f"{f'{verdict.counted:,}' if verdict.counted else 'None'} of {counts.count:,} predictions changed{how}"
    if not policy.max_changed:
        return f"{found}; none is allowed to."
    low, high = verdict.changed
    limits = {
        PASS: f"at most {high:.2%}",
        FAIL: f"at least {low:.2%}",
        INCONCLUSIVE: f"between {low:.2%} and {high:.2%}" if verdict.counted else f"at most {high:.2%}",
    }
    return f"{found}: {sure} {limits[verdict.agreement]} of all would; allowed is {policy.max_changed:.2%}."


def _needed(counts: Counts, policy: Policy) -> str:
    """On how many pictures a good file would pass; where there are as many, on how many this one would."""
    labelled, share = counts.lost is not None, min(GOOD, policy.max_changed / 4.0)
    needed = images_needed(share / 2.0, share / 2.0, policy, labelled, POWER)
    whose = f"a file that changes {share:.2%} of its predictions"
    if needed and needed <= counts.count:
        lost = counts.changed if counts.lost is None else counts.lost
        won = counts.changed - lost
        needed = images_needed(lost / counts.count, won / counts.count, policy, labelled, POWER)
        whose = "a file that changes as many as this one"
    if not needed:
        return f"Look at the changed pictures: {whose} will hardly pass on any number of them. {ALLOW}"
    return f"Test on more pictures: {whose} passes on about {needed:,} with {POWER:.0%} probability. {ALLOW}"


def _slices(groups: Mapping[str, Counts], policy: Policy) -> Check:
    """Whether no group of pictures surely loses more than all together may.

    There is an interval for each group, so each gets a share of the risk of a false alarm (Bonferroni).
    """
    confidence = 1.0 - (1.0 - policy.confidence) / len(groups)
    losing = []
    for name, counts in groups.items():
        lost, won = counts.lost or 0, counts.won or 0
        if 100.0 * drop_interval(lost, won, counts.count, confidence)[0] > policy.max_drop_pp:
            losing.append(f"{name} ({lost} of {counts.count:,} lost, {won} won)")
    reason = f"In no slice the drop is surely over {policy.max_drop_pp:.2f} pp."
    if losing:
        reason = f"The drop is surely over {policy.max_drop_pp:.2f} pp in the slices {', '.join(losing)}."
    return verdict_on("slices", not losing, reason, MEND)
