"""Whatever bytes or arrays are given: an answer, or one sentence; never a crash, never a guess about half a picture."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from oddeven.runtime import Classifier
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.decode import decode_image
from oddeven.runtime.prediction import UNCERTAIN, UNKNOWN

KINDS = {"PNG": {}, "JPEG": {"quality": 90}, "BMP": {}, "GIF": {}, "TIFF": {}, "WEBP": {"lossless": True}, "PPM": {}}
COUNT = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def classifier():
    return Classifier.load("mlp")


def written(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind, **KINDS[kind])
    return buffer.getvalue()


@cache
def sample(kind):
    """A blurred figure as a file of the format `kind`."""
    pixels = np.zeros((30, 40), np.uint8)
    pixels[5:25, 18:22] = 255
    pixels[10:14, 10:30] = 160
    return written(Image.fromarray(pixels).convert("RGB"), kind)


def answered(picture):
    """Whether there is an answer; anything but an answer or a sentence fails the test that asks."""
    try:
        prediction = classifier().predict(picture)
    except DataError:
        return False
    assert prediction.label in ("even", "odd", UNCERTAIN, UNKNOWN)
    if prediction.familiarity is None:  # of a blank picture, which no model has seen
        assert (prediction.label, prediction.probability) == (UNCERTAIN, 0)
    else:
        assert 0 <= prediction.familiarity <= 1
        least = np.float32(classifier().spec.min_familiarity)  # as precise as what it is compared with
        assert (prediction.label == UNKNOWN) == (prediction.familiarity < least)
    assert prediction.reason or 0.5 <= prediction.probability <= 1
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_anywhere_too_early_is_refused_or_read_in_full(kind):
    whole = sample(kind)
    pixels = decode_image(whole, 3)
    refused = 0
    for size in range(len(whole)):
        try:
            cut = decode_image(whole[:size], 3)
        except DataError:
            refused += 1
            continue
        np.testing.assert_array_equal(cut, pixels, err_msg=f"{kind} cut at {size} of {len(whole)} bytes")
    assert refused >= len(whole) - 21  # the longest trailer is PNG's: IEND, the data's checksums, the end of deflate


@COUNT
@given(data=st.data(), kind=st.sampled_from(list(KINDS)))
def test_damaged_files(data, kind):
    content = bytearray(sample(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    answered(bytes(content))


@COUNT
@given(st.binary(max_size=400))
def test_any_bytes(content):
    assert not answered(content)


@COUNT
@given(
    st.sampled_from([np.uint8, np.int8, np.int64, np.float32, np.float64, np.bool_, np.complex64]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=30))
    )
)
def test_any_array(picture):
    if answered(picture):
        assert picture.dtype == np.uint8
        assert picture.ndim == 2 or picture.shape[2] == 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 20_000), (20_000, 2), (1, 300), (3, 3)])
def test_odd_sizes(shape):
    random = np.random.default_rng(0)
    assert answered(random.integers(0, 256, shape, np.uint8))
    assert answered(np.zeros(shape, np.uint8))
    for kind in ("PNG", "JPEG"):
        assert answered(written(Image.fromarray(random.integers(0, 256, shape, np.uint8)), kind))


@pytest.mark.parametrize("values", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_named(values):
    with pytest.raises(DataError, match="not finite"):
        classifier().predict(np.full((28, 28), values, np.float32))
