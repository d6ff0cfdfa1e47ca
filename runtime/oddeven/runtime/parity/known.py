"""Whether a file finds the same images unknown as its reference does."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from oddeven.runtime.arrays import Familiarities
from oddeven.runtime.parity.check import Check, verdict_on
from oddeven.runtime.parity.statistics import share_limits

SHOWN = 8


@dataclass(frozen=True)
class Judged:
    """An image, by its position in the reference, and how familiar the file finds it, 0 to 1."""

    position: int
    familiarity: float


@dataclass(frozen=True)
class KnownParity:
    """The comparison of the decisions between known and unknown over all test images.

    Attributes:
        least: an image of lower familiarity is unknown.
        reference_unknown, unknown: the share of images that the reference, and that the file finds unknown, 0 to 1.
        changed: images that only one of them finds unknown.
        changed_low, changed_high: one-sided confidence limits of their share, 0 to 1.
        answers: which images the file finds unknown, packed to bits, in base64.
        least_known, most_unknown: the known images of least familiarity, and the unknown ones of most.
    """

    least: float
    reference_unknown: float
    unknown: float
    changed: int
    changed_low: float
    changed_high: float
    answers: str
    least_known: tuple[Judged, ...]
    most_unknown: tuple[Judged, ...]


def compare_known(reference: Familiarities, found: Familiarities, least: float, confidence: float) -> KnownParity:
    """Compare how familiar a reference and a file find the same images, float32 (N,), 0 to 1.

    Args:
        confidence: of each limit, one-sided, 0 to 1.
    """
    before, after = reference < least, found < least
    changed = int((before != after).sum())
    low, high = share_limits(changed, len(found), confidence)
    order = np.argsort(found, kind="stable")
    judged = [Judged(int(place), float(found[place])) for place in order]
    unknown = int(after.sum())
    return KnownParity(
        least=least,
        reference_unknown=float(before.mean()),
        unknown=float(after.mean()),
        changed=changed,
        changed_low=low,
        changed_high=high,
        answers=base64.b64encode(np.packbits(after).tobytes()).decode("ascii"),
        least_known=tuple(judged[unknown : unknown + SHOWN]),
        most_unknown=tuple(reversed(judged[max(0, unknown - SHOWN) : unknown])),
    )


def known_check(known: KnownParity, count: int, least: float) -> Check:
    """Fails where less than `least` of the decisions, 0 to 1, surely stay as they are."""
    allowed = 1.0 - least
    reason = (
        f"{known.changed} of {count:,} images change between known and unknown, {known.changed_low:.2%} to "
        f"{known.changed_high:.2%} of all; allowed is {allowed:.2%}. Unknown are {known.unknown:.2%}, of the "
        f"reference {known.reference_unknown:.2%}."
    )
    return verdict_on("known", known.changed_low <= allowed, reason, "Raise --calibration-size.")
