"""What every converter is given: a Keras model, its spec and calibration images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.familiarity import NAME
from oddeven.runtime.spec import ModelSpec

CHANNELS_LAST = "channels_last"
OUTPUTS = ("probability", NAME)  # converters sort them by name, and the probability comes first


@dataclass(frozen=True)
class About:
    """What its maker says of a model besides the spec; "" for what is not said.

    Attributes:
        version: of the model, from 1 on.
    """

    author: str = ""
    license: str = ""
    description: str = ""
    version: int = 1


@dataclass(frozen=True)
class Conversion:
    """A model to convert; each format takes of it what it needs.

    Attributes:
        model: a Keras model, or an `OnnxModel` for the ONNX formats, from float32 (N, H, W, C) to the probability of
            label 1, float32 (N, 1), and, where the spec has a familiarity, to its raw score, float32 (N, 1).
        spec: goes into the file.
        calibration: training images as the model takes them, float32 (N, H, W, C); they set the quantized ranges.
        float_io: keep float32 input and output in a full-integer TFLite file.
        full_range: give int8 ONNX weights all 8 bits, which x86 CPUs without VNNI cannot add.
        about: goes into the file's standard metadata.
    """

    model: Any
    spec: ModelSpec
    calibration: npt.NDArray[np.float32]
    float_io: bool = False
    full_range: bool = False
    about: About = field(default_factory=About)


@lru_cache(maxsize=1)  # every format begins with it
def traced(model: Any) -> Any:
    """`model` as a `tf.function` with an input signature: `image`, any number at a time, to `OUTPUTS`."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]
    fixed = _with_constant_shapes(model)
    return tf.function(lambda image: dict(outputs(fixed(image, training=False))), input_signature=signature)


def _with_constant_shapes(model: Any) -> Any:
    """`model` with the shapes of its reshapes as constants, -1 for the batch.

    Keras asks each batch for its size. In a TFLite file that takes three operators, and parts what XNNPACK computes.
    """
    import keras
    from keras import layers

    def constant(layer: Any) -> Any:
        if not isinstance(layer, layers.Flatten | layers.Reshape):
            return layer
        if getattr(layer, "data_format", CHANNELS_LAST) != CHANNELS_LAST:
            return layer
        return layers.Lambda(
            lambda x: keras.ops.reshape(x, (-1, *layer.compute_output_shape(x.shape)[1:])), name=layer.name
        )

    return keras.models.clone_model(model, clone_function=constant, recursive=True)


def outputs(found: Any) -> Iterator[tuple[str, Any]]:
    """What a model of one output or of two gave, by name."""
    return zip(OUTPUTS, found if isinstance(found, (list, tuple)) else [found], strict=False)


def first_output(model: Any, spec: ModelSpec) -> tuple[Any, ModelSpec]:
    """A model and its spec without the second output, where there is one."""
    if spec.familiarity is None:
        return model, spec
    import keras

    plain = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return plain, replace(spec, familiarity=None, min_familiarity=0.0)
