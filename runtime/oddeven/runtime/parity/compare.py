"""Compare a model's probabilities with its reference's, image by image, with labels or without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Probabilities
from oddeven.runtime.parity import findings
from oddeven.runtime.parity.check import Check, worst
from oddeven.runtime.parity.metrics import Metrics, compute_metrics
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.statistics import mcnemar
from oddeven.runtime.parity.verdict import Counts, judge

Slices = npt.NDArray[np.str_]
Predictions = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SliceParity:
    """The comparison over one group of images; fields as in `Parity`, and None without labels as there."""

    name: str
    count: int
    reference_accuracy: float | None
    accuracy: float | None
    drop_pp: float | None
    agreement: float


@dataclass(frozen=True)
class Change:
    """An image whose prediction changed.

    Attributes:
        position: in the reference.
        label: 0 or 1; None where it is not known.
        reference, answer: the probabilities of the reference and of the file, 0 to 1.
    """

    position: int
    label: int | None
    reference: float
    answer: float


@dataclass(frozen=True)
class Parity:
    """The comparison of one file with its reference over all test images.

    Whatever needs labels is None where there are none: the metrics, the drop and its limits, McNemar's test, and the
    counts of changes for the worse and for the better.

    Attributes:
        count: images compared.
        reference, file: each model's own metrics.
        drop_pp: accuracy of the reference minus the file's, percentage points; `drop_low_pp` and `drop_high_pp` are its
            one-sided confidence limits.
        mcnemar_p: exact two-sided p value of the hypothesis that both are equally accurate.
        agreement: share of equal predictions, 0 to 1.
        right_to_wrong, wrong_to_right: changed predictions that only the reference, or only the file, gets right.
        max_shift, mean_shift: absolute difference in probability.
        slices: the same per group of images.
        changes: the images whose prediction changed, the nearest to the threshold first.
        checks: what was judged.
        verdict: the worst of them: PASS, FAIL or INCONCLUSIVE.
        reason: one sentence that says why.
        changed_low, changed_high: one-sided confidence limits of the share of predictions that change and count against
            agreement, 0 to 1. Older reports lack them, and 0 to 1 is all that is known there.
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
    probabilities: Probabilities,
    labels: Labels | None,
    slices: Slices,
    threshold: float,
    precision: str,
    policy: Policy,
    reference_threshold: float | None = None,
) -> Parity:
    """Compare two models' probabilities of label 1 for the same images.

    Args:
        reference, probabilities: of the reference and of the file, float32 (N,), 0 to 1.
        labels: uint8 (N,), 0 or 1; None where they are not known.
        slices: str (N,), the group each image is reported under.
        threshold: label 1 is predicted strictly above it.
        precision: of the file; one in `policy.ties` must predict alike, any other within the policy's limits.
        policy: what is allowed.
        reference_threshold: of the reference, where it has another.

    Raises:
        ValueError: the lengths differ, there is no image, or a probability is not a number from 0 to 1.
    """
    if not len(reference) == len(probabilities) == len(slices) == len(reference if labels is None else labels) > 0:
        given = "no" if labels is None else len(labels)
        raise ValueError(f"{len(reference)} reference, {len(probabilities)} answers and {given} labels do not pair up")
    for values in (reference, probabilities):
        if not ((values >= 0.0) & (values <= 1.0)).all():  # NaN is neither
            raise ValueError("a probability is not a number from 0 to 1")
    cut = threshold if reference_threshold is None else reference_threshold
    before, after, shift = reference > cut, probabilities > threshold, np.abs(reference - probabilities)
    changed = np.flatnonzero(before != after)
    counts = _count(before, after, labels)
    verdict = judge(counts, policy)
    metrics = None if labels is None else compute_metrics(reference, labels, cut)
    members = {str(name): slices == name for name in np.unique(slices)}
    groups = {name: (before[own], after[own], None if labels is None else labels[own]) for name, own in members.items()}
    checks = [] if labels is None else findings.on_reference(reference, labels, policy)
    if tie := policy.ties.get(precision):
        excused = (np.abs(reference[changed] - cut) < tie.margin) & (shift[changed] <= tie.step)
        checks.append(findings.on_equality(int((~excused).sum()), int(excused.sum())))
    else:
        checks += findings.on_counts(counts, verdict, policy)
    if labels is not None:
        checks.append(findings.on_slices({name: _count(*group) for name, group in groups.items()}, policy))
    deciding = worst(checks)
    low_pp, high_pp = verdict.drop_pp or (None, None)
    return Parity(
        count=counts.count,
        reference=metrics,
        file=None if labels is None else compute_metrics(probabilities, labels, threshold),
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
            Change(int(i), None if labels is None else int(labels[i]), float(reference[i]), float(probabilities[i]))
            for i in sorted(changed, key=lambda i: abs(float(reference[i]) - cut))
        ),
        checks=tuple(checks),
        verdict=deciding.verdict,
        reason=deciding.reason,
        changed_low=verdict.changed[0],
        changed_high=verdict.changed[1],
    )


def _count(before: Predictions, after: Predictions, labels: Labels | None) -> Counts:
    """How the predictions of the reference, `before`, and of the file, `after`, differ; bool (N,)."""
    changed = before != after
    lost = None if labels is None else int((changed & (before == labels)).sum())
    return Counts(len(before), int(changed.sum()), lost)


def _slice(name: str, before: Predictions, after: Predictions, labels: Labels | None) -> SliceParity:
    counts = _count(before, after, labels)
    expected, found = (None if labels is None else float((predicted == labels).mean()) for predicted in (before, after))
    return SliceParity(name, counts.count, expected, found, counts.drop_pp, counts.agreement)
