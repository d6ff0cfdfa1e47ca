"""An answer as JSON fields and as a CSV row: what `predict`, `watch` and `camera` write alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # NumPy takes longer to import than --help may
    from oddeven.runtime.classifier import Prediction

# What would break a line, or cannot be written as UTF-8: a file's name may hold it.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


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
