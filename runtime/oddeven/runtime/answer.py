"""An answer as JSON fields and as a CSV row: what `predict`, `watch` and `camera` write alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # NumPy takes longer to import than --help may
    from oddeven.runtime.classifier import Prediction


def as_fields(name: str, answer: Prediction) -> dict[str, Any]:
    """For JSON; a reason only where there is one."""
    scores = {label: round(p, 6) for label, p in answer.scores.items()}
    fields = {"file": name, "label": answer.label, "probability": round(answer.probability, 6), "scores": scores}
    return {**fields, "reason": answer.reason} if answer.reason else fields


def header(labels: tuple[str, str]) -> list[str]:
    """The columns of `as_row`."""
    return ["file", "label", "probability", *labels, "reason"]


def as_row(name: str, answer: Prediction, labels: tuple[str, str]) -> list[object]:
    """For CSV."""
    scores = [f"{answer.scores[label]:.6f}" if answer.scores else "" for label in labels]
    return [name, answer.label, f"{answer.probability:.6f}", *scores, answer.reason]
