"""Whether other calibration pictures would have given other answers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from conftest import SHIPPED

from oddeven.export.calibration import disjoint_draws
from oddeven.export.conversion import Conversion
from oddeven.export.diagnosis import measure_stability
from oddeven.export.formats import FORMATS
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import read_spec
from oddeven.train.data.registry import load_dataset


@pytest.fixture(scope="module")
def data():
    return load_dataset("mnist")


@pytest.fixture(scope="module")
def source():
    model = keras.saving.load_model(SHIPPED / "mlp.keras", compile=False)
    return Conversion(model, read_spec(SHIPPED / "mlp.keras"), np.empty((0, 28, 28, 1), np.float32))


def test_equal_draws_differ_in_nothing(source, data):
    left, _ = disjoint_draws(data, 100, 0)
    found = measure_stability(source, "onnx-int8", (left, left), data.validation.images[:500])
    assert (found.model, found.format, found.draw, found.count) == ("mlp", "onnx-int8", 100, 500)
    assert (found.differing, found.max_shift) == (0, 0.0)


def test_what_differs_is_counted(source, data, tmp_path):
    left, _ = disjoint_draws(data, 100, 0)
    dim, few = left // 20, data.validation.images[:500]
    found = measure_stability(source, "onnx-int8", (left, dim), few)
    answers = []
    for draw in (left, dim):
        real = Conversion(source.model, source.spec, draw / np.float32(255))
        path = tmp_path / "mlp.int8.onnx"
        path.write_bytes(FORMATS["onnx-int8"].convert(real))
        with Classifier.load(path) as classifier:
            answers.append([classifier.predict(picture).scores["odd"] for picture in few])
    one, other = np.array(answers)
    assert found.differing == np.sum((one > 0.5) != (other > 0.5)) > 0
    assert found.max_shift == pytest.approx(np.abs(one - other).max(), abs=1e-6)
    assert f"on two disjoint draws of 100 training images, {found.differing} of 500 validation" in str(found)


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-int8"])
def test_500_pictures_are_enough_for_a_shipped_model(name, source, data):
    found = measure_stability(source, name, disjoint_draws(data, 500, 0), data.validation.images)
    # Two of 10,000 measured; what the policy allows between Keras and a file is 20.
    assert found.differing < 20
