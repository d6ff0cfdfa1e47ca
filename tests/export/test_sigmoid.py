"""The sum before the sigmoid of a full integer TFLite file: as fine as its probability, and parted at the threshold."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from oddeven.export import tflite
from oddeven.export.conversion import Conversion
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance

SPEC = ModelSpec("two-pixels", ("dark", "bright"), InputSpec(1, 2, 1), Provenance("none", "0" * 64, "none", 0, 0, {}))
LEVELS = np.arange(256, dtype=np.uint8)
LEFT = np.stack([LEVELS, np.zeros_like(LEVELS)], axis=-1).reshape(-1, 1, 2, 1)
RIGHT = np.stack([np.full_like(LEVELS, 128), LEVELS], axis=-1).reshape(-1, 1, 2, 1)
FINE = 2 / 127  # the right pixel's weight, of the left one's: what two steps of eight bits hold exactly


def exact(pictures, slope, middle):
    """The probability that the weighted sum of the pixels is above `middle`, by the formula of a sigmoid, (256,)."""
    left, right = pictures.reshape(-1, 2).T / 255
    return 1 / (1 + np.exp(-slope * (left + FINE * right - middle)))


@pytest.fixture
def answers(tmp_path):
    """What the file of such a model answers for pictures, by LiteRT alone."""

    def answer(pictures, slope, middle, threshold=0.5, bias=True):
        model = keras.Sequential(
            [keras.Input((1, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid", use_bias=bias)]
        )
        weights = np.array([[slope], [FINE * slope]], np.float32), np.array([-slope * middle], np.float32)
        model.set_weights(list(weights[: 1 + bias]))
        source = Conversion(model, replace(SPEC, threshold=threshold), LEFT / np.float32(255))
        path = tmp_path / "model.tflite"
        path.write_bytes(tflite.int8(source))
        interpreter = Interpreter(model_path=str(path))
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel() / 256

    return answer


def test_a_sum_of_wide_range_keeps_the_probability_fine(answers):
    # Sums from -40 to 40. A level of the sum is 2 ln(511) / 255, of which rounding takes half and the threshold half;
    # the sigmoid's slope is at most a quarter; the output has levels of 1/256. Calibrated alone, it would be 0.08.
    step = 2 * np.log(511) / 255
    np.testing.assert_allclose(answers(LEFT, 80, 0.5), exact(LEFT, 80, 0.5), rtol=0, atol=step / 4 + 0.5 / 256)


def test_a_sum_of_narrow_range_keeps_its_finer_levels(answers):
    # Sums from -2 to 2, so levels of 4/255.
    np.testing.assert_allclose(answers(LEFT, 4, 0.5), exact(LEFT, 4, 0.5), rtol=0, atol=4 / 255 / 4 + 0.5 / 256)


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.9])
@pytest.mark.parametrize("crossing", [0.506, 0.508, 0.51])
def test_answers_change_where_the_float_model_s_do(answers, crossing, threshold):
    # The right pixel moves the sum by a tenth of a level of it, and crosses the threshold; the bias is stored to half
    # of that. Rounded as they come, up to five pixels would be answered otherwise.
    middle = crossing + np.log(1 / threshold - 1) / 80
    expected = exact(RIGHT, 80, middle) > threshold
    found = answers(RIGHT, 80, middle, threshold) > threshold
    assert 20 < expected.sum() < 236
    assert (found != expected).sum() <= 1


def test_a_model_without_a_bias_is_converted(answers):
    np.testing.assert_allclose(answers(LEFT, 40, 0, bias=False), exact(LEFT, 40, 0), rtol=0, atol=0.02)
