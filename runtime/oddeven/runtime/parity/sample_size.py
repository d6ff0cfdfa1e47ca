"""How many images a verdict needs, and how likely a file is to pass on a given number."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import partial

from oddeven.runtime.parity.check import PASS
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.statistics import at_most
from oddeven.runtime.parity.verdict import Counts, judge
from oddeven.runtime.table import shown

PARTS = (0.0, 0.05, 0.25, 0.5, 1.0)  # of what the policy allows to change
POWERS = (0.8, 0.9)
SIZES: tuple[int, ...] = (*(digits * 10**power for power in range(4) for digits in range(10, 100)), 100_000)


def chance_of_pass(count: int, lost: float, won: float, policy: Policy, labelled: bool = True) -> float:
    """Probability that a file passes on accuracy and agreement, summed over all counts that may come.

    Args:
        count: images.
        lost, won: true shares of the predictions that the file changes for the worse and for the better.
        labelled: whether the labels are known.
    """
    if not labelled:
        lost, won = lost + won, 0.0
    losses, chance = _likely(count, lost), 0.0
    for gains in _likely(count, won):
        # With the same gains, a file passes up to some number of losses.
        fitting = bisect_left(losses, True, key=partial(_not_passing, count, gains, policy, labelled))
        weight = at_most(gains, count, won) - at_most(gains - 1, count, won)
        chance += weight * at_most(losses[0] + fitting - 1, count - gains, lost / (1.0 - won))
    return chance


def images_needed(lost: float, won: float, policy: Policy, labelled: bool = True, power: float = 0.8) -> int | None:
    """The least number of images, to two digits, on which a file passes with the probability `power`.

    The chance is a saw-tooth: it rises where one more change is allowed, and falls a little up to there.

    Args:
        lost, won, labelled: as for `chance_of_pass`.
        power: one half to 1.

    Returns:
        None where 100,000 images are not enough.
    """
    lost, won = (lost, won) if labelled else (lost + won, 0.0)
    for count in SIZES:
        # Where fewer changes than the expected ones do not pass, it passes less than half the time.
        losses, gains = max(0, math.ceil(lost * count) - 1), math.floor(won * count)
        if _not_passing(count, gains, policy, labelled, losses):
            continue
        if chance_of_pass(count, lost, won, policy, labelled) >= power:
            return count
    return None


def plan(policy: Policy) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The images needed, as a table: by the share of changed predictions, and by labels and power."""
    kinds = [(labelled, power) for labelled in (True, False) for power in POWERS]
    header = ("changed", *(f"{'labelled' if labelled else 'unlabelled'}, {power:.0%}" for labelled, power in kinds))
    rows = []
    for share in dict.fromkeys(part * policy.max_changed for part in PARTS):
        needed = (images_needed(share / 2, share / 2, policy, *kind) for kind in kinds)
        rows.append((f"{share:.2%}", *(shown(count, ",") for count in needed)))
    return header, rows


def _not_passing(count: int, gains: int, policy: Policy, labelled: bool, losses: int) -> bool:
    changed = losses + gains
    return changed > count or judge(Counts(count, changed, losses if labelled else None), policy).overall != PASS


def _likely(count: int, share: float) -> range:
    """The counts that a binomial(count, share) number has in all but one in 10**9 cases."""
    mean = count * share
    margin = 6.5 * math.sqrt(mean) + 12.0
    return range(max(0, math.floor(mean - margin)), min(count, math.ceil(mean + margin)) + 1)
