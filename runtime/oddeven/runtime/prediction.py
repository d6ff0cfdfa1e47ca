"""An answer as JSON fields and as a CSV row: what `predict`, `watch` and `camera` write alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

UNCERTAIN = "uncertain"
# What would break a line, or cannot be written as UTF-8: a file's name may hold it.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


class Prediction(NamedTuple):
    """An answer.

    Attributes:
        label: the more likely of the two, by the model's threshold; `UNCERTAIN` where there is a reason not to say.
        probability: the model's probability of the more likely label, 0 to 1; 0 for a blank picture. An 8-bit output
            has 255/256 as its highest probability of label 1, so that is the most it says of either label.
        scores: the probability of each label; they add up to 1. Empty for a blank picture.
        reason: why the answer is uncertain, or "".
    """

    label: str
    probability: float
    scores: Mapping[str, float]
    reason: str = ""


def as_fields(name: str, answer: Prediction) -> dict[str, Any]:
    """For JSON; a reason only where there is one."""
    scores = {label: round(p, 6) for label, p in answer.scores.items()}
    fields = {"file": name, "label": answer.label, "probability": round(answer.probability, 6), "scores": scores}
    return {**fields, "reason": answer.reason} if answer.reason else fields


def header(labels: tuple[str, str]) -> list[str]:
    """The columns of `as_row`."""
    return ["file", "label", "probability", *labels, "reason"]


def as_row(name: str, answer: Prediction, labels: tuple[str, str]) -> list[object]:
    """For CSV; the file's name as `writable` gives it."""
    scores = [f"{answer.scores[label]:.6f}" if answer.scores else "" for label in labels]
    return [writable(name), answer.label, f"{answer.probability:.6f}", *scores, answer.reason]


def writable(text: str) -> str:
    """`text` with line breaks, control characters and bytes that are no UTF-8 written as escapes."""
    return UNWRITABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
