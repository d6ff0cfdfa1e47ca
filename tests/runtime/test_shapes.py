"""Pixels of any shape, tone and model: ready pixels of the model's shape, or one of our own sentences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oddeven.runtime.errors import DataError
from oddeven.runtime.images.preprocess import INVERSIONS, PREPROCESSINGS, prepare
from oddeven.runtime.spec import POLARITIES, InputSpec

SIDES = st.one_of(st.integers(1, 8), st.sampled_from([28, 41, 161, 400]))
CHANNELS = st.sampled_from([1, 3])


@st.composite
def pictures(draw):
    """Noise, a block on a ground, or bars: uint8 (H, W, C) from 1x1."""
    shape = draw(SIDES), draw(SIDES), draw(CHANNELS)
    if draw(st.booleans()):
        return draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 20, 127, 128, 255])))
    pixels = np.full(shape, draw(st.integers(0, 255)), np.uint8)
    top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    pixels[top : top + draw(st.integers(1, 30)), left : left + draw(st.integers(1, 30))] = draw(st.integers(0, 255))
    return pixels


@settings(max_examples=1500, deadline=None)
@given(
    pixels=pictures(), height=st.integers(1, 40), width=st.integers(1, 40), polarity=st.sampled_from(POLARITIES),
    preprocessing=st.sampled_from(list(PREPROCESSINGS)), invert=st.sampled_from(INVERSIONS),
    parameters=st.sampled_from([{}, {"stroke_side": 20.0}, {"stroke_side": 0.0}, {"stroke_side": 1e9}]),
)  # fmt: skip
def test_any_picture_becomes_what_the_model_takes(pixels, height, width, polarity, preprocessing, invert, parameters):
    spec = InputSpec(
        height, width, pixels.shape[2], polarity=polarity, preprocessing=preprocessing, parameters=parameters
    )
    try:
        ready = prepare(pixels, spec, invert)
    except DataError:  # nothing to see, or not the size that `raw` wants
        return
    assert (ready.shape, ready.dtype) == (spec.shape, np.uint8)


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_small_shape(preprocessing, channels):
    """All shapes up to 6x6: one pixel set, and one pixel unset."""
    spec = InputSpec(28, 28, channels, polarity="light-on-dark", preprocessing=preprocessing)
    for height in range(1, 7):
        for width in range(1, 7):
            for ground, ink in ((0, 255), (255, 0)):
                pixels = np.full((height, width, channels), ground, np.uint8)
                pixels[height // 2, width // 2] = ink
                try:
                    assert prepare(pixels, spec).shape == spec.shape
                except DataError:
                    continue
