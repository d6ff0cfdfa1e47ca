"""The file that MediaPipe Tasks' ImageClassifier runs unchanged on Android, iOS and the web, and in Python.

It takes RGB, uint8 (1, H, W, 3), and gives a score for each of the two labels. The highest score wins there, so the
model's threshold becomes 0.5. The raw score of familiarity, where the model has it, is that of a second head, which has
one category. In between it is the full-integer TFLite file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from oddeven.export.bias import correct
from oddeven.export.conversion import Conversion
from oddeven.export.flatbuffer import set_quantization
from oddeven.export.sigmoid import refine
from oddeven.export.tflite import converted, float32, full_integer, to_bytes
from oddeven.export.tflite_metadata import describe, label_files
from oddeven.runtime.engines.tflite_metadata import TENSOR_AXIS_LABELS
from oddeven.runtime.errors import ModelError
from oddeven.runtime.spec import InputSpec, ModelSpec

# ITU-R BT.601's 0.299, 0.587 and 0.114 in steps of 1/217: 8-bit weights hold them exactly, and grey stays what it is.
LUMA = np.array([65, 127, 25]) / 217
SCORE_SCALE = 1 / 255  # two scores of 8 bits then add up to 1 and are never equal
NUDGE = 1 / 32512  # the least that a bias of the last layer can be; 1/2 goes to label 0, as the runtime decides


def mediapipe(source: Conversion) -> bytes:
    """Full integer, in MediaPipe's form.

    Raises:
        ModelError: TensorFlow cannot convert the model, or it does not end as `refine` wants it.
    """
    spec, low, high = source.spec, source.spec.input.low, source.spec.input.high
    taken = replace(spec.input, low=0.0, high=1.0)
    own = replace(
        source,
        model=_in_rgb(source.model, spec.input),
        spec=replace(spec, threshold=0.5, input=taken),
        calibration=np.repeat((source.calibration - low) / (high - low), 3 // spec.input.channels, axis=-1),
        float_io=False,
    )
    rgb = replace(own, spec=replace(own.spec, input=replace(taken, channels=3)))  # what the file itself takes
    parsed = converted(own, full_integer(rgb))
    correct(parsed, lambda: float32(own), own.calibration)
    if not refine(parsed, 0.5, -math.log(spec.threshold / (1 - spec.threshold))):
        raise ModelError(
            f"{spec.name} does not end in a dense layer with a bias and a sigmoid, so its threshold cannot be "
            "MediaPipe's, 0.5; give it such an end, or take --format tflite-int8."
        )
    _make_scores_exact(parsed)
    scores = {
        "name": "scores",
        "description": "A score for each label; they add up to 1.",
        "associated_files": label_files(source, TENSOR_AXIS_LABELS),
    }
    return to_bytes(parsed, own, describe(rgb, [scores, *_familiarity(spec)]))


def _familiarity(spec: ModelSpec) -> Iterator[dict[str, Any]]:
    """The metadata of the second output, where the model has it."""
    if spec.familiarity:
        limit = np.interp(spec.min_familiarity, spec.familiarity.shares, spec.familiarity.scores)
        yield {"name": "familiarity", "description": f"The image is unknown to the model below {limit:.3g}."}


def limits(spec: ModelSpec) -> tuple[str, ...]:
    """What of `spec` MediaPipe cannot do, one sentence each."""
    found = []
    if spec.input.preprocessing not in {"raw", "squash"} or spec.input.polarity != "any":
        found.append(
            f"MediaPipe scales an image to {spec.input.height}x{spec.input.width} and does nothing else: it does not "
            f"prepare it by {spec.input.preprocessing!r} or make it {spec.input.polarity}, so do that before."
        )
    if spec.threshold != 0.5:
        found.append(
            f"Its scores are moved so that 0.5 stands for the threshold {spec.threshold:g}: they are no probabilities."
        )
    return tuple(found)


def _in_rgb(model: Any, spec: InputSpec) -> Any:
    """`model` from RGB, 0 to 1, to (N, 2), the probabilities of label 0 and label 1, and what else it gives."""
    import keras

    image = keras.Input((spec.height, spec.width, 3))
    taken = image
    if spec.channels == 1 or (spec.low, spec.high) != (0.0, 1.0):
        kernel = (LUMA[:, None] if spec.channels == 1 else np.eye(3)) * (spec.high - spec.low)
        convert = keras.layers.Conv2D(spec.channels, 1)
        taken = convert(image)
        convert.set_weights([kernel[None, None], np.full(spec.channels, spec.low)])
    pair = keras.layers.Dense(2)
    probability, *familiarity = keras.tree.flatten(model(taken))
    scores = pair(probability)
    pair.set_weights([np.array([[-1.0, 1.0]]), np.array([1.0 + NUDGE, -NUDGE])])
    return keras.Model(image, [scores, *familiarity])


def _make_scores_exact(parsed: Any) -> None:
    """Give the output of a `ModelT`, and what that is made from, `SCORE_SCALE`."""
    from tensorflow.lite.python import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    (last,) = (operator for operator in graph.operators if graph.outputs[0] in operator.outputs)
    for index in (graph.outputs[0], last.inputs[0]):
        tensor = graph.tensors[index]
        set_quantization(tensor, SCORE_SCALE, {schema.TensorType.UINT8: 0, schema.TensorType.INT8: -128}[tensor.type])
