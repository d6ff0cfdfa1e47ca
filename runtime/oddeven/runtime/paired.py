"""Statistics of two models' answers on the same pictures."""

from __future__ import annotations

import math
from statistics import NormalDist


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


def half_width(share: float, count: int, confidence: float) -> float:
    """Half the width of `drop_interval` where a share of the answers changes, as many for the better as for the worse.

    Args:
        share: of changed answers, 0 to 1.
        count: all pictures.
    """
    low, high = drop_interval(round(share * count / 2), round(share * count / 2), count, confidence)
    return (high - low) / 2.0


def pictures_needed(share: float, half: float, confidence: float) -> int:
    """The least number of pictures at which `half_width` is at most `half`, both as shares; to within a hundredth.

    The width falls with the number of pictures but for rounding, so that doubling and halving find it.
    """
    high = 2
    while half_width(share, high, confidence) > half:
        high *= 2
    low = high // 2
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(share, middle, confidence) <= half else (middle, high)
    return high
