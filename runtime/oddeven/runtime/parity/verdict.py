"""The verdict on a file, as a function of nothing but the counts of images and of changed predictions."""

from __future__ import annotations

from dataclasses import dataclass

from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS, WORST_FIRST
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.statistics import drop_interval, share_limits


@dataclass(frozen=True)
class Counts:
    """How two models' predictions for the same images differ.

    Attributes:
        count: images.
        changed: images that the two predict differently.
        lost: changed images that only the reference gets right; None where the labels are not known.
    """

    count: int
    changed: int
    lost: int | None = None

    @property
    def won(self) -> int | None:
        """Changed images that only the file gets right; None where the labels are not known."""
        return None if self.lost is None else self.changed - self.lost

    @property
    def agreement(self) -> float:
        """Share of images that both predict alike, 0 to 1."""
        return 1.0 - self.changed / self.count

    @property
    def drop_pp(self) -> float | None:
        """Accuracy of the reference minus the file's, percentage points; None where the labels are not known."""
        return None if self.lost is None else 100.0 * (2 * self.lost - self.changed) / self.count


@dataclass(frozen=True)
class Verdict:
    """What the counts say under a policy. Every limit is one-sided, at the policy's confidence.

    Attributes:
        counted: changed predictions that count against agreement.
        changed: lower and upper limit of their share, 0 to 1.
        agreement: PASS, FAIL or INCONCLUSIVE.
        drop_pp: lower and upper limit of the drop in accuracy, percentage points; None without labels.
        accuracy: PASS, FAIL or INCONCLUSIVE; None without labels.
    """

    counted: int
    changed: tuple[float, float]
    agreement: str
    drop_pp: tuple[float, float] | None
    accuracy: str | None

    @property
    def overall(self) -> str:
        """The worse of both."""
        return min(filter(None, (self.agreement, self.accuracy)), key=WORST_FIRST.index)


def judge(counts: Counts, policy: Policy) -> Verdict:
    """The verdict on a file whose predictions differ from its reference's as `counts` say.

    PASS is an intersection-union test: a file that is beyond one of the limits passes with probability
    1 - confidence at most, however many limits there are.
    """
    lost, won = counts.lost, counts.won
    counted = counts.changed if lost is None or policy.count_gains else lost
    changed = share_limits(counted, counts.count, policy.confidence)
    limits_pp = accuracy = None
    if lost is not None and won is not None and counts.drop_pp is not None:
        low, high = drop_interval(lost, won, counts.count, policy.confidence)
        limits_pp = 100.0 * low, 100.0 * high
        accuracy = _accuracy(counts.drop_pp, *limits_pp, policy)
    return Verdict(counted, changed, _agreement(counted, *changed, policy), limits_pp, accuracy)


def _agreement(counted: int, low: float, high: float, policy: Policy) -> str:
    """One changed image alone never fails a file: it says too little about the share.

    No number of images proves that none will ever change, so a policy that allows none is about the images at hand.
    """
    if not policy.max_changed:
        return FAIL if counted else PASS
    if high <= policy.max_changed:
        return PASS
    return FAIL if low > policy.max_changed and counted > 1 else INCONCLUSIVE


def _accuracy(drop_pp: float, low_pp: float, high_pp: float, policy: Policy) -> str:
    if low_pp > policy.max_drop_pp:
        return FAIL
    return PASS if drop_pp <= policy.max_drop_pp and high_pp <= policy.max_upper_pp else INCONCLUSIVE
