"""What a network takes from a trained one: its weights to start from, or what it predicts, besides the labels.

Hinton, Vinyals and Dean, 2015, Distilling the knowledge in a neural network.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import UsageError
from oddeven.runtime.spec import ModelSpec
from oddeven.train.data.dataset import Dataset
from oddeven.train.familiarity import load_without_familiarity
from oddeven.train.subclasses import probability

TEMPERATURE = 4.0  # divides the logits, so that probabilities near 0 and 1 still say how sure the teacher is


def teach(model: Any, path: Path, data: Dataset) -> None:
    """Make half of the loss that the compiled `model` is trained by the cross-entropy with a teacher's output.

    Args:
        path: of the teacher's `.keras` file.
        data: that `model` is trained on.

    Raises:
        ModelError, UsageError: as `trained_spec`.
    """
    import keras

    own, theirs = data.input, trained_spec(path, data).input
    teacher, label_loss = load_without_familiarity(path), model.compute_loss
    scale = (theirs.high - theirs.low) / (own.high - own.low)

    def compute_loss(x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        loss = label_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        taught = teacher((x - own.low) * scale + theirs.low, training=False)
        entropy = keras.losses.binary_crossentropy(_softened(taught), _softened(probability(y_pred)))
        return (loss + TEMPERATURE**2 * keras.ops.mean(entropy)) / 2

    model.compute_loss = compute_loss


def trained_spec(path: Path, data: Dataset) -> ModelSpec:
    """The spec of the trained model in the `.keras` file `path`.

    Raises:
        ModelError: the file is missing or damaged.
        UsageError: it holds no model for the labels and images of `data`, whatever their value range.
    """
    spec = read_spec(path) if path.suffix == ".keras" else None
    low, high = data.input.low, data.input.high
    if spec is None or spec.labels != data.labels or replace(spec.input, low=low, high=high) != data.input:
        came = f"is for {spec.input.shape} images of {' and '.join(spec.labels)}" if spec else "carries no ModelSpec"
        expected = f"{data.input.shape} images of {' and '.join(data.labels)}, prepared as these are"
        raise UsageError(f"{path} {came}; expected a model that oddeven trained for {expected}.")
    return spec


def _softened(probabilities: Any) -> Any:
    """With the logits divided by `TEMPERATURE`."""
    from keras import config, ops

    p = ops.clip(probabilities, config.epsilon(), 1 - config.epsilon())
    return ops.sigmoid(ops.log(p / (1 - p)) / TEMPERATURE)
