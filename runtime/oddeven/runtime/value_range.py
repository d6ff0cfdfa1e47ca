"""The values that a model of unknown training expects for pixels: a table, and which row fits labelled images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Pixels, Probabilities
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.spec import label_fault

MOST = 50  # images of a label to try a range on
SURE = 1.645  # standard errors; one-sided 95 %
NEAR = 0.02  # accuracies that differ by less are told apart by the loss, and losses by the span
FAINT = 1 / 3  # a model made for 0..255 says about one half of images in 0..1, though often on the right side
WIDE = 10.0  # times as wide values multiply what a model says, so that it is always sure
LEAST_P = 1e-6


@dataclass(frozen=True)
class ValueRange:
    """A row.

    Attributes:
        low, high: what pixel 0 and pixel 255 become.
        mean, deviation: of each channel, in the order that the model takes; it expects (value - mean) / deviation.
        bgr: the model takes blue first.
    """

    low: float
    high: float
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    @property
    def plain(self) -> bool:
        """Whether `low` and `high` say everything, so that the model itself stays as it is."""
        return self == ValueRange(self.low, self.high)

    @property
    def span(self) -> float:
        """How wide the values are that the model takes."""
        return (self.high - self.low) / min(self.deviation)

    def matrix(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """`kernel` (3, 3) and `bias` (3,): the model expects x @ kernel + bias of RGB values x from `low` to `high`."""
        order = np.eye(3)[::-1] if self.bgr else np.eye(3)
        deviation = np.array(self.deviation)
        return (order / deviation).astype(np.float32), (-np.array(self.mean) / deviation).astype(np.float32)


RANGES: Mapping[str, ValueRange] = {
    "0..1": ValueRange(0.0, 1.0),
    "-1..1": ValueRange(-1.0, 1.0),
    "0..255": ValueRange(0.0, 255.0),
    # What torchvision's models take.
    "imagenet": ValueRange(0.0, 1.0, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)),
    # What keras.applications' ResNet and VGG take, as those of Caffe did.
    "caffe": ValueRange(0.0, 255.0, mean=(103.939, 116.779, 123.68), bgr=True),
    # OpenCV's order of channels.
    "0..1-bgr": ValueRange(0.0, 1.0, bgr=True),
    "-1..1-bgr": ValueRange(-1.0, 1.0, bgr=True),
    "0..255-bgr": ValueRange(0.0, 255.0, bgr=True),
}


def two_labels(given: str) -> tuple[str, str]:
    """The two labels in `A,B`.

    Raises:
        UsageError: there are not two different ones, or one cannot be a label.
    """
    names = [name.strip() for name in given.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise UsageError(f"--labels {given} is not two labels; give those of 0 and 1, such as good,defective.")
    if fault := label_fault(names):
        raise UsageError(f"--labels: {fault}")
    return names[0], names[1]


def balanced_sample(images: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """As many images of either label, the first `MOST` at most."""
    count = min(MOST, *np.bincount(labels, minlength=2).tolist())
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in (0, 1)]))
    return images[chosen], labels[chosen]


def find_range(
    what: str,
    names: Iterable[str],
    given: str | None,
    predict: Callable[[str], Probabilities],
    truth: Labels,
    labels: tuple[str, str],
) -> tuple[str, str]:
    """The range under which a model predicts `truth`, and what to tell the user of it.

    Args:
        what: the model's file, for messages.
        names: of the ranges to try.
        given: the range that the user says. The others are tried only if it does not do, and those with blue first
            are named but never taken unasked: they turn some models' predictions round.
        predict: the probabilities of label 1, float32 (N,), under the range of that name.
        truth: uint8 (N,), with as many of either label.
        labels: the names of labels 0 and 1.

    Raises:
        UsageError: another range would do, or the labels are the wrong way round.
        ModelError: the model is no better than chance, or gives no probability.
    """
    names, sure = list(names), 0.5 + SURE * math.sqrt(0.25 / len(truth))
    first = [given] if given else [name for name in names if not RANGES[name].bgr]
    scores = {name: _score(what, predict(name), truth) for name in first}
    if max(scores.values()).accuracy > sure:
        found, others = _likeliest(scores)
        finding = f"value range {found}, right for {scores[found].accuracy:.1%} of {len(truth)} images"
        if others:
            finding += f"; as right under {' and '.join(others)}, so give --range if it was trained with another"
        return found, finding
    scores.update({name: _score(what, predict(name), truth) for name in names if name not in first})
    found = _likeliest(scores)[0]
    best, worst = scores[found].accuracy, min(scores[name].accuracy for name in scores if not RANGES[name].bgr)
    if max(best, 1 - worst) <= sure:
        raise ModelError(
            f"{what} is no better than chance (at most {best:.0%} of {len(truth)} images) under every value range "
            f"({', '.join(scores)}); look at the images, their labels and --fit."
        )
    remedies = []
    if 1 - worst >= best:
        remedies.append(f"turn the labels round, --labels {labels[1]},{labels[0]}, if 1 stands for {labels[0]}")
    if best > sure:
        remedies.append(f"give --range {found}, under which it is right for {best:.0%}")
    highest = max(scores[name].accuracy for name in first)
    raise UsageError(
        f"{what} is right for {highest:.0%} of {len(truth)} images under the value range {' or '.join(first)}, no "
        f"better than chance; {', or '.join(remedies)}."
    )


class _Score(NamedTuple):
    accuracy: float
    loss: float  # cross-entropy
    confidence: float  # mean probability of what is predicted


def _likeliest(scores: Mapping[str, _Score]) -> tuple[str, list[str]]:
    """The likeliest range, and the others of about the same accuracy.

    A model that makes no mistakes has the less loss the wider the values are, so the loss decides only between ranges
    of similar span. Ranges under which a model is far less sure than it is right are too narrow for it.
    """
    best = max(scores.values()).accuracy
    right = {name: score for name, score in scores.items() if score.accuracy >= best - NEAR}
    sure = [name for name, (p, _, confidence) in right.items() if confidence - 0.5 >= FAINT * (p - 0.5)]
    tied = sorted(sure or right, key=lambda name: RANGES[name].span)
    similar = [name for name in tied if RANGES[name].span <= WIDE * RANGES[tied[0]].span]
    least = min(right[name].loss for name in similar)
    found = next(name for name in similar if right[name].loss <= least + NEAR)
    return found, [name for name in tied if name != found]


def _score(what: str, p: Probabilities, truth: Labels) -> _Score:
    if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
        raise ModelError(
            f"{what} gives values from {p.min():.3g} to {p.max():.3g}, which are no probabilities; if they are logits, "
            "oddeven export --from-logits appends the sigmoid."
        )
    clipped = np.clip(p.astype(np.float64), LEAST_P, 1 - LEAST_P)
    loss = -np.mean(np.log(np.where(truth == 1, clipped, 1 - clipped)))
    return _Score(float(np.mean((p > 0.5) == truth)), float(loss), float(np.mean(np.maximum(clipped, 1 - clipped))))
