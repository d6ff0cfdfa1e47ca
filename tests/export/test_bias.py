"""The average error of an int8 file's last sum is measured, and taken off where it matters."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from conftest import SHIPPED

from oddeven.export.bias import TOLERATED, correction
from oddeven.export.conversion import Conversion
from oddeven.export.sigmoid import refine
from oddeven.export.tflite import full_integer, int8, to_tflite
from oddeven.runtime.engines.metadata import read_spec


@pytest.fixture(scope="module")
def source(raw):
    model = keras.saving.load_model(SHIPPED / "mlp.keras", compile=False)
    images = raw["x_train"][:2000, ..., None] / np.float32(255)
    return Conversion(model, read_spec(SHIPPED / "mlp.keras"), images)


def moved(source, shift):
    return to_tflite(source, full_integer(source), partial(refine, threshold=source.spec.threshold, shift=shift))


@pytest.mark.parametrize("shift", [-1.5, 1.5])
def test_a_moved_sum_is_moved_back(source, shift):
    assert correction(moved(source, shift), source) == pytest.approx(-shift, abs=0.2)
    assert correction(moved(source, shift), source, shift) == 0.0


def test_a_file_that_is_hardly_off_is_left_as_it_is(source):
    assert correction(moved(source, 0.0), source) == 0.0
    assert correction(moved(source, TOLERATED / 5), source) == 0.0
    assert int8(source) == moved(source, 0.0)


def test_a_biased_model_is_corrected(source, monkeypatch):
    """The converter sees another bias than the Keras model has, as if rounding errors had added up to it."""
    asked = []

    def biased(model, threshold, shift=0.0):
        asked.append(shift)
        return refine(model, threshold, shift + 2.0)

    monkeypatch.setattr("oddeven.export.tflite.refine", biased)
    made = int8(source)
    assert asked == [0.0, pytest.approx(-2.0, abs=0.2)]
    assert correction(made, source) == 0.0
