"""What eight bits add to a model's sum on average, to be taken off its last bias.

Rounding errors of the layers before do not always cancel: with `lite0` on images with white backgrounds they moved all
sums by 1.2, and one label won. Nagel and others, 2019, Data-free quantization through weight equalization and bias
correction; here of the last layer, measured on the calibration images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oddeven.export.conversion import OUTPUTS, Conversion, outputs
from oddeven.export.sigmoid import LEVELS
from oddeven.runtime.arrays import Probabilities
from oddeven.runtime.classifier import Classifier

TOLERATED = 0.25  # of the sum: less is left, since it moves no probability by more than 0.06
NEAR, LEAST = 4.0, 10  # sums that eight bits tell apart whatever the error, and how many of them it takes
BATCH = 16


def corrected(convert: Callable[[float], bytes], source: Conversion, shift: float = 0.0) -> bytes:
    """The full-integer `.tflite` file of `source`, without its bias.

    Args:
        convert: makes the file, with what is added to its last bias.
        shift: as `correction` has it.
    """
    model = convert(0.0)
    move = correction(model, source, shift)
    return convert(move) if move else model


def correction(model: bytes, source: Conversion, shift: float = 0.0) -> float:
    """What to add to the last bias of a full-integer `.tflite` file; 0.0 where that is at most `TOLERATED`.

    The median error of its sums, over the calibration images of which the Keras model is not certain.

    Args:
        model: the file, with the spec inside.
        shift: how much larger than the Keras model's its sums are meant to be.
    """
    low, high = source.spec.input.low, source.spec.input.high
    exact = dict(outputs(source.model.predict(source.calibration, batch_size=BATCH, verbose=0)))[OUTPUTS[0]][:, 0]
    pixels = np.rint((source.calibration - low) / (high - low) * 255).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(model)
        with Classifier.load(path) as classifier:
            sums = _sums(classifier.probabilities(pixels))
    meant = _sums(exact) + shift
    near = np.abs(meant) < NEAR
    move = float(np.median((meant - sums)[near])) if near.sum() >= LEAST else 0.0
    return move if abs(move) > TOLERATED else 0.0


def _sums(p: Probabilities) -> npt.NDArray[np.float32]:
    """What has `p`, (N,), as its sigmoid, as far as eight bits can tell: they end at 255/256."""
    p = np.clip(p, 1 / LEVELS, 1 - 1 / LEVELS)
    sums: npt.NDArray[np.float32] = np.log(p / (1 - p))
    return sums
