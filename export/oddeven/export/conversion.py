"""What every converter is given: a Keras model, its spec and calibration images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.spec import ModelSpec


@dataclass(frozen=True)
class Conversion:
    """A model to convert; each format takes of it what it needs.

    Attributes:
        model: a Keras model, float32 (N, H, W, C) to the probability of label 1, float32 (N, 1).
        spec: goes into the file.
        calibration: training images as the model takes them, float32 (N, H, W, C); they set the quantized ranges.
        float_io: keep float32 input and output in a full-integer TFLite file.
        full_range: give int8 ONNX weights all 8 bits, which x86 CPUs without VNNI cannot add.
    """

    model: Any
    spec: ModelSpec
    calibration: npt.NDArray[np.float32]
    float_io: bool = False
    full_range: bool = False


def traced(model: Any) -> Any:
    """`model` as a `tf.function` with an input signature: `image`, any number at a time, to `probability`."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]
    return tf.function(lambda image: {"probability": model(image, training=False)}, input_signature=signature)
