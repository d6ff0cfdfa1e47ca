"""What a few images can tell: cross-validated accuracy, whether more would help, and which look mislabelled.

All of it follows from a linear classifier on the features of a frozen network, so a fold costs less than a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Pixels, Probabilities
from oddeven.train.data.splits import Indices, joined, near_duplicates, perceptual_hash
from oddeven.train.probe import Features, cross_validate

FOLDS = 5
SHARES = (0.25, 0.5, 0.75, 1.0)
LEAST = 40  # images, below which nothing is cross-validated
CONFIDENCE = 0.95
DOUBTFUL = 0.5  # a label to which cross-validation gives less is doubted
MORE = (2, 4)  # times the images of today


@dataclass(frozen=True)
class Estimate:
    """An accuracy and its Wilson interval."""

    count: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class FewImages:
    """What cross-validation says of a set of images.

    Attributes:
        curve: the accuracy on a growing part of the images, the last on all of them.
        forecast: the number of images and the accuracy that the curve leads one to expect; empty where it is flat.
        doubtful: positions of images whose label is doubted, the most first.
        given: what cross-validation gives each image's own label, float32 (N,).
        duplicates: pairs of positions of images that look the same, (K, 2).
    """

    curve: tuple[Estimate, ...]
    forecast: tuple[tuple[int, float], ...]
    doubtful: tuple[int, ...]
    given: Probabilities
    duplicates: Indices


def examine(x: Features, labels: Labels, images: Pixels, seed: int) -> FewImages:
    """Cross-validate a linear classifier on the features `x`, (N, K); images that look the same share a fold."""
    pairs = near_duplicates(np.stack([perceptual_hash(image) for image in images]))
    groups = joined(len(labels), pairs)
    curve = []
    p = np.empty(0, np.float32)
    for share in SHARES:
        chosen = _part(groups, share, seed)
        different = [len(np.unique(groups[chosen][labels[chosen] == label])) for label in (0, 1)]
        if len(chosen) >= LEAST and min(different) >= FOLDS:
            p = cross_validate(x[chosen], labels[chosen], groups[chosen], FOLDS, seed)
            curve.append(estimate(int(((p > 0.5) == labels[chosen]).sum()), len(chosen)))
    given = np.where(labels == 1, p, 1 - p) if len(p) == len(labels) else np.ones(len(labels), np.float32)
    doubtful = [int(i) for i in np.argsort(given) if given[i] < DOUBTFUL]
    return FewImages(tuple(curve), _forecast(curve), tuple(doubtful), given, pairs)


def estimate(right: int, count: int) -> Estimate:
    """The accuracy of `right` of `count` predictions."""
    from scipy.stats import binomtest

    interval = binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(count, right / count, float(interval.low), float(interval.high))


def _forecast(curve: list[Estimate]) -> tuple[tuple[int, float], ...]:
    """Errors fall about as a power of the number of images: a line through their logarithms, drawn out.

    Hestness and others, 2017, Deep learning scaling is predictable, empirically.
    """
    errors = [1 - e.accuracy for e in curve]
    if len(curve) < 3 or errors[-1] >= errors[0] or min(errors) == 0:
        return ()
    slope, start = np.polyfit(np.log([e.count for e in curve]), np.log(errors), 1)
    counts = [times * curve[-1].count for times in MORE]
    return tuple((count, float(1 - np.exp(start + slope * np.log(count)))) for count in counts if slope < 0)


def _part(groups: Indices, share: float, seed: int) -> Indices:
    """Positions of about that share of the images, in whole groups."""
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    place = np.argsort(order)[groups]
    return np.flatnonzero(place < np.ceil(share * len(order)))


def occlusion(
    predict: Callable[[npt.NDArray[np.float32]], Any], image: npt.NDArray[np.float32], middle: float, steps: int = 9
) -> Features:
    """How far the probability moves where a part of `image` is covered, float32 (steps, steps), signed.

    Zeiler and Fergus, 2014, Visualizing and understanding convolutional networks.

    Args:
        predict: from float32 (N, H, W, C) to probabilities (N, 1).
        image: float32 (H, W, C).
        middle: the value that covers.
        steps: places of the cover, which is twice as wide as a step, along each side.
    """
    height, width = image.shape[:2]
    covered = np.repeat(image[None], steps * steps + 1, axis=0)
    for place in range(steps * steps):
        row, column = divmod(place, steps)
        y, x = row * height // (steps + 1), column * width // (steps + 1)
        covered[place, y : y + 2 * height // (steps + 1), x : x + 2 * width // (steps + 1)] = middle
    p = np.asarray(predict(covered))[:, 0]
    moved: Features = (p[-1] - p[:-1]).reshape(steps, steps)
    return moved
