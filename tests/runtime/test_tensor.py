"""Pixels into tensors and tensors into probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from oddeven.runtime.engines.quantization import TensorInfo, decode, encoder
from oddeven.runtime.spec import InputSpec

PIXELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
UNIT = InputSpec(16, 16, 1)


def info(dtype, scale=0.0, zero_point=0):
    return TensorInfo("image", (-1, 16, 16, 1), dtype, scale, zero_point)


def test_a_pixel_that_is_the_quantized_input_is_passed_on_untouched():
    assert encoder(info("uint8", 1 / 255), UNIT)(PIXELS) is PIXELS


def test_an_integer_without_a_scale_stands_for_itself():
    assert encoder(info("uint8"), InputSpec(16, 16, 1, low=0.0, high=255.0))(PIXELS) is PIXELS
    centred = encoder(info("int8"), InputSpec(16, 16, 1, low=-128.0, high=127.0))(PIXELS)
    assert centred.dtype == np.int8
    np.testing.assert_array_equal(centred, PIXELS.astype(int) - 128)


def test_real_inputs_are_the_published_division():
    x = encoder(info("float32"), UNIT)(PIXELS)
    assert x.dtype == np.float32
    # One float32 rounding of a number below 1.
    np.testing.assert_allclose(x, PIXELS / 255.0, atol=2**-24)


def test_a_signed_range_reaches_both_ends():
    x = encoder(info("float32"), InputSpec(16, 16, 1, low=-1.0, high=1.0))(PIXELS)
    assert (x.min(), x.max()) == (-1.0, 1.0)


@pytest.mark.parametrize(("dtype", "scale", "zero_point"), [("int8", 1 / 255, -128), ("uint8", 1 / 127, 0)])
def test_other_quantizations_are_rounded_to_the_nearest_step(dtype, scale, zero_point):
    q_x = encoder(info(dtype, scale, zero_point), UNIT)(PIXELS)
    assert q_x.dtype == dtype
    back = (q_x.astype(float) - zero_point) * scale
    reachable = np.clip(PIXELS / 255.0, None, (np.iinfo(dtype).max - zero_point) * scale)
    # Half a quantization step.
    assert np.abs(back - reachable).max() <= scale / 2 + 1e-9


def test_decoding_is_the_quantization_formula():
    p = decode(np.array([[0], [128], [255]], np.uint8), TensorInfo("p", (-1, 1), "uint8", 1 / 256, 0))
    assert p.dtype == np.float32
    assert p.tolist() == [0.0, 0.5, 255 / 256]
    assert decode(np.array([[0.25]], np.float32), TensorInfo("p", (-1, 1), "float32")).tolist() == [0.25]


def test_rounding_over_one_and_below_zero_is_undone_and_nothing_else_is_mended():
    values = np.array([[1.0000001], [-6e-8], [0.5], [1.01], [-0.1], [np.nan]], np.float32)
    decoded = decode(values, TensorInfo("probability", (-1, 1), "float32"))
    np.testing.assert_array_equal(decoded, np.array([1.0, 0.0, 0.5, 1.01, -0.1, np.nan], np.float32))
