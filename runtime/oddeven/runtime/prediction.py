"""A prediction: how a probability becomes one, and how it is written as JSON and CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from oddeven.runtime.errors import BlankError, ModelError
from oddeven.runtime.spec import ModelSpec

UNCERTAIN = "uncertain"
UNKNOWN = "unknown"
# What would break a line, or cannot be written as UTF-8: a file's name may hold it.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


class Prediction(NamedTuple):
    """What a model says about an image.

    Attributes:
        label: the more likely of the two, by the model's threshold; `UNCERTAIN` or `UNKNOWN` where `reason` says why
            not.
        probability: the model's probability of that label, 0 to 1; 0 for a blank image. An 8-bit output has 255/256 as
            its highest probability of label 1, so that is the highest for either label.
        scores: the probability of each label; they add up to 1. Empty for a blank image.
        reason: why the prediction is uncertain or the image unknown, or "".
        familiarity: the share of validation images that are less familiar to the model, 0 to 1; None where its file
            does not say, and for a blank image.
    """

    label: str
    probability: float
    scores: Mapping[str, float]
    reason: str = ""
    familiarity: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, and so for another process: pickle does not take the mapping that `scores` are read from."""
        return Prediction, (*self[:2], dict(self.scores), *self[3:])


def decide(p: float, spec: ModelSpec, gap: float, min_confidence: float) -> Prediction:
    """The prediction for probability `p` of label 1.

    Args:
        gap: how near to 0 or 1 a probability may be said to be, as `quantization.range_gap` gives it.
        min_confidence: a less probable label becomes `UNCERTAIN`.

    Raises:
        ModelError: `p` is not a probability.
    """
    if not 0.0 <= p <= 1.0:
        raise ModelError(
            f"{spec.name} gives {p:g}, which is not a probability: the model must end in a sigmoid, or be exported "
            "with --from-logits."
        )
    label = spec.labels[int(p > spec.threshold)]
    shown = min(max(p, gap), 1.0 - gap)
    scores = MappingProxyType(dict(zip(spec.labels, (1.0 - shown, shown), strict=True)))
    confidence = scores[label]
    if confidence >= min_confidence:
        return Prediction(label, confidence, scores)
    reason = f"{confidence:.4f} for {label} is below the minimum confidence, {min_confidence:g}"
    if confidence == 1.0 - gap:
        reason += f", and {confidence:.4f} is the most that the quantized output can give"
    return Prediction(UNCERTAIN, confidence, scores, f"{reason}.")


def with_familiarity(prediction: Prediction, familiarity: float, least: float) -> Prediction:
    """`prediction` with how familiar its image is; `UNKNOWN` where that is below `least`."""
    if familiarity >= least:
        return prediction._replace(familiarity=familiarity)
    reason = f"The image is unlike those that the model was made for: its familiarity, {familiarity:.4f}, is below "
    return prediction._replace(label=UNKNOWN, reason=f"{reason}{least:g}.", familiarity=familiarity)


def blank_prediction(error: BlankError) -> Prediction:
    """The prediction for a blank image."""
    return Prediction(UNCERTAIN, 0.0, MappingProxyType({}), str(error))


def as_fields(name: str, prediction: Prediction) -> dict[str, Any]:
    """For JSON; with a familiarity and a reason only where there is one."""
    fields: dict[str, Any] = {
        "file": name, "label": prediction.label, "probability": round(prediction.probability, 6),
    }  # fmt: skip
    if prediction.familiarity is not None:
        fields["familiarity"] = round(prediction.familiarity, 6)
    fields["scores"] = {label: round(p, 6) for label, p in prediction.scores.items()}
    return {**fields, "reason": prediction.reason} if prediction.reason else fields


def header(labels: tuple[str, str]) -> list[str]:
    """The columns of `as_row`."""
    return ["file", "label", "probability", "familiarity", *labels, "reason"]


def as_row(name: str, prediction: Prediction, labels: tuple[str, str]) -> list[object]:
    """For CSV; the file's name as `writable` gives it."""
    scores = [f"{prediction.scores[label]:.6f}" if prediction.scores else "" for label in labels]
    familiarity = "" if prediction.familiarity is None else f"{prediction.familiarity:.6f}"
    return [writable(name), prediction.label, f"{prediction.probability:.6f}", familiarity, *scores, prediction.reason]


def writable(text: str) -> str:
    """`text` with line breaks, control characters and bytes that are not UTF-8 written as escapes."""
    return UNWRITABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
