"""A SavedModel folder as a Keras model. It is a TensorFlow program, and runs as one: export only what you trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oddeven.export.keras_model import check_tensors
from oddeven.runtime.errors import ModelError, reason

SIGNATURE = "serving_default"
MARKER = "saved_model.pb"


def read_saved_model(path: Path, from_logits: bool = False) -> Any:
    """The signature `serving_default` of the SavedModel in the folder `path`, as one layer of a functional model.

    Nobody looks inside: its output is taken for one or two probabilities, or for logits where `from_logits` says so.

    Returns:
        As `read_keras_model`.

    Raises:
        ModelError: the folder is damaged, or its signature has not one image as input and two labels as output.
    """
    import keras
    import tensorflow as tf

    if not (path / MARKER).is_file():
        raise ModelError(f"{path} is a folder without {MARKER}; expected a file, or what model.export(FOLDER) writes.")
    try:
        layer = keras.layers.TFSMLayer(str(path), call_endpoint=SIGNATURE)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, tf.errors.OpError) as error:
        raise ModelError(f"TensorFlow cannot load {path} ({reason(error)}).") from error
    function = layer.call_endpoint_fn
    inputs, outputs = list(function.structured_input_signature[1].values()), list(function.structured_outputs)
    for kind, found in (("inputs", [tensor.name for tensor in inputs]), ("outputs", outputs)):
        if len(found) != 1:
            raise ModelError(f"{path} has {len(found)} {kind} ({', '.join(found)}); expected one.")
    if inputs[0].shape.rank is None:
        raise ModelError(f"{path} does not say the shape of its input; expected (N, height, width, channels).")
    batch, *shape = inputs[0].shape
    image = keras.Input(shape, batch, dtype=inputs[0].dtype.name, name="image")
    z = layer(image)[outputs[0]]
    check_tensors(keras.Model(image, z), path)
    if tuple(z.shape[1:]) not in {(1,), (2,)}:
        raise ModelError(f"{path} gives shape {tuple(z.shape[1:])}; expected one or two numbers for an image.")
    if not from_logits:
        probability = z[:, -1:]
    else:
        logit = z[:, 1:] - z[:, :1] if z.shape[1] == 2 else z
        probability = keras.layers.Activation("sigmoid")(logit)
    return keras.Model(image, probability, name="saved_model")
