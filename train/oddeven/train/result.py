"""What a finished training run reached, as `history.json` beside its model holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oddeven.runtime.spec import Provenance

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds", "cpu_seconds")


@dataclass(frozen=True)
class TrainingResult:
    """A finished run, as `history.json` beside the model holds it.

    Attributes:
        history: one value an epoch for `loss`, `accuracy`, `val_loss`, `val_accuracy`, `seconds` (wall) and
            `cpu_seconds` (all cores), validation included.
        test_accuracy, test_loss: on the test split.
        threshold: the prediction is label 1 where the probability is above it.
    """

    provenance: Provenance
    history: Mapping[str, tuple[float, ...]]
    test_accuracy: float
    test_loss: float
    threshold: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a history that lacks a metric or an epoch (ValueError)."""
        lengths = {len(self.history.get(name, ())) for name in METRICS}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"the history must have one value an epoch for each of {', '.join(METRICS)}.")
