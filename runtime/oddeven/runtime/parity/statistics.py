"""Statistics of two models' predictions on the same images."""

from __future__ import annotations

import math
from functools import lru_cache

LAST_STEP = 1e-7  # relative, of Newton's method: the error left is about its square
ROUNDING = 1e-15  # no smaller step moves a share for certain
LONGEST = 20.0  # of a step, on the scale of the logarithm: what is further off may have no probability in floats


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p value of McNemar's test (1947): under equal accuracy, `lost` is binomial(lost + won, 1/2)."""
    changed = lost + won
    tail = term = 1
    for k in range(1, min(lost, won) + 1):
        term = term * (changed - k + 1) // k
        tail += term
    return min(1.0, float(2 * tail / 2**changed))


def at_most(k: int, count: int, share: float) -> float:
    """Probability that a binomial(count, share) number is `k` or less.

    The terms are added from `k` outward, on the side where they fall, until they no longer count.
    """
    if k < 0 or k >= count or not 0.0 < share < 1.0:
        return float(k >= count or (k >= 0 and share <= 0.0))
    odds = share / (1.0 - share)
    downward = k < count * share
    i = k if downward else k + 1
    total = term = _exactly(i, count, share)
    while term > 1e-17 * total:
        if downward:
            term *= i / ((count - i + 1) * odds)
            i -= 1
        else:
            term *= (count - i) * odds / (i + 1)
            i += 1
        total += term
    return total if downward else 1.0 - total


def _exactly(k: int, count: int, share: float) -> float:
    """Probability that a binomial(count, share) number is `k`, with a share between 0 and 1."""
    ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
    return math.exp(ways + k * math.log(share) + (count - k) * math.log1p(-share))


@lru_cache(maxsize=1 << 16)
def share_limits(k: int, count: int, confidence: float) -> tuple[float, float]:
    """Lower and upper confidence limit of a share of which `k` of `count` were seen, 0 to 1.

    Each limit alone holds at least as often as `confidence` says, whatever the share.

    Source: Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the
    binomial, Biometrika 26(4), 404-413; here one-sided.

    Args:
        confidence: of each limit, one-sided, 0 to 1.
    """
    return 1.0 - _upper(count - k, count, confidence), _upper(k, count, confidence)


def _upper(k: int, count: int, confidence: float) -> float:
    """The share at which `k` or less are as rare as 1 - confidence.

    Newton's method on the logarithm of that probability, which is concave in the share, so that it always converges.
    """
    if k == count or confidence == 1.0:
        return 1.0
    share, step = (k + 1) / (count + 1), 1.0
    while abs(step) > max(LAST_STEP * min(share, 1.0 - share), ROUNDING):
        tail = at_most(k, count, share)
        slope = (count - k) / (1.0 - share) * _exactly(k, count, share) / tail
        step = min(math.log(tail / (1.0 - confidence)), LONGEST) / slope
        step = max(-share / 2.0, min(step, (1.0 - share) / 2.0))
        share += step
    return share


def drop_interval(lost: int, won: int, count: int, confidence: float) -> tuple[float, float]:
    """Lower and upper confidence limit of the drop in accuracy between two models on the same `count` images.

    The drop is the share lost minus the share won. The limits of both shares (`share_limits`) are put together by
    squares, with the correlation that the two have because no image is both. In `benchmarks/verdict.py` neither limit
    misses more often than it may; the adjusted Wald and the score interval do where few predictions change.

    Source: Zou and Donner (2008), Construction of confidence limits about effect measures: a general approach,
    Statistics in Medicine 27(10), 1693-1702 (MOVER); the correlation as in Newcombe (1998), Improved confidence
    intervals for the difference between binomial proportions based on paired data, Statistics in Medicine 17(22),
    2635-2650.

    Args:
        lost: images that only the reference gets right.
        won: images that only the other gets right.
        count: all images.
        confidence: of each limit, one-sided, 0 to 1.

    Returns:
        The limits as shares, -1 to 1; positive is a loss.
    """
    p, q = lost / count, won / count
    p_low, p_high = share_limits(lost, count, confidence)
    q_low, q_high = share_limits(won, count, confidence)
    correlation = math.sqrt(lost * won / ((count - lost) * (count - won))) if lost and won else 0.0
    below = _joined(p - p_low, q_high - q, correlation)
    above = _joined(p_high - p, q - q_low, correlation)
    return max(-1.0, p - q - below), min(1.0, p - q + above)


def _joined(a: float, b: float, correlation: float) -> float:
    return math.sqrt(a * a + b * b + 2.0 * correlation * a * b)
