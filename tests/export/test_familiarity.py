"""The second output through the converters, and files whose spec and outputs disagree."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import SHIPPED, oddeven_here

from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.artifacts.reference import REFERENCE
from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import attach_to_keras
from oddeven.runtime.engines.tflite_metadata import read_metadata
from oddeven.runtime.errors import ModelError
from oddeven.runtime.familiarity import NAME, familiarities
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance
from oddeven.train.familiarity import meaning

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
VIEW = InputSpec(12, 12, 1, preprocessing="raw")
SPEC = ModelSpec("two", ("bad", "good"), VIEW, Provenance("none", "0" * 64, "random", 1, 0, {}))
# In the unit of the score, which runs from 0 to 6: rounding for float, and for eight bits a few of 255 steps.
TOLERANCES = {"float32": 1e-4, "int8": 0.3}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (200, 12, 12, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def source(images):
    """A small convolution of random weights with both outputs, and what its scores mean."""
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((12, 12, 1), name="image")
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, activation="relu")(image))
    parts = [layers.Dense(8)(pool()(x)) for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)]
    seen = layers.Activation("relu6")(layers.Add()(parts))
    p = layers.Dense(1, "sigmoid", name="probability")(layers.Dense(6, "relu")(layers.Flatten()(x)))
    model = keras.Model(image, [p, layers.Dense(1, "relu6", name=NAME)(seen)])
    model.get_layer("probability").bias.assign([0.1])  # the converter leaves out one of zeros
    kernel, _ = model.get_layer(NAME).get_weights()
    model.get_layer(NAME).set_weights([20 * kernel, np.array([3.0])])
    raw = model.predict(to_float(images, VIEW), verbose=0)[1][:, 0]
    model.get_layer(NAME).set_weights([20 * kernel, np.array([6 - raw.mean()])])
    raw = model.predict(to_float(images, VIEW), verbose=0)[1][:, 0]
    assert np.ptp(raw) > 1
    spec = replace(SPEC, min_familiarity=0.1, familiarity=meaning(raw))
    return Conversion(model, spec, to_float(images, VIEW))


def made(source, name, folder):
    path = folder / FORMATS[name].file_name("two")
    path.write_bytes(FORMATS[name].convert(source))
    return path


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-int8", "mediapipe", "onnx-float32", "onnx-int8", "c"])
def test_a_file_scores_as_keras_does(name, source, images, tmp_path):
    p, raw = source.model.predict(source.calibration, verbose=0)
    with Classifier.load(made(source, name, tmp_path), FORMATS[name].engine) as classifier:
        assert (classifier.engine.output.name, classifier.engine.familiarity.name) == ("probability", NAME)
        tolerance = TOLERANCES[classifier.spec.precision]
        found, known = classifier.scores(images)
        np.testing.assert_allclose(found, p[:, 0], rtol=0, atol=tolerance)
        for off in (-tolerance, tolerance):  # between the familiarities of what the score may be
            bound = familiarities(raw[:, 0] + off, source.spec.familiarity)
            assert (np.sign(off) * (bound - known) >= -1e-6).all()
        labels = [prediction.label for prediction in classifier.predict_batch(images)]
        np.testing.assert_array_equal(np.array(labels) == "unknown", known < np.float32(0.1))


def test_the_file_for_mediapipe_says_where_the_limit_is(source, tmp_path):
    path = made(source, "mediapipe", tmp_path)
    (graph,) = read_metadata(path.read_bytes(), path)["subgraph_metadata"]
    _, said = graph["output_tensor_metadata"]
    limit = float(said["description"].split()[-1].rstrip("."))
    known = source.spec.familiarity
    assert familiarities(np.array([limit]), known)[0] == pytest.approx(source.spec.min_familiarity, abs=0.01)


def test_a_keras_file_and_its_spec_must_agree(source, tmp_path):
    path = tmp_path / "two.keras"
    source.model.save(path)
    attach_to_keras(path, source.spec)
    model, spec = load_keras_model(path)
    assert (len(model.outputs), spec) == (2, source.spec)
    source.model.save(path)
    attach_to_keras(path, SPEC)
    with pytest.raises(ModelError, match="2 outputs, and its spec promises none"):
        load_keras_model(path)
    keras.Model(source.model.inputs[0], source.model.outputs[0]).save(path)
    attach_to_keras(path, source.spec)
    with pytest.raises(ModelError, match="1 outputs, and its spec promises a familiarity"):
        load_keras_model(path)


def test_a_finished_file_that_lacks_what_its_spec_promises_is_refused(source, tmp_path):
    plain = replace(source, model=keras.Model(source.model.inputs[0], source.model.outputs[0]))
    with pytest.raises(ModelError, match="promises a familiarity"):
        Classifier.load(made(plain, "tflite-float32", tmp_path))
    without = replace(source, spec=SPEC)
    with pytest.raises(ModelError, match="two outputs, and its spec"):
        Classifier.load(made(without, "onnx-float32", tmp_path))


@pytest.mark.slow
def test_files_without_it_are_smaller_and_predict_alike(tmp_path):
    options = ("--format", "tflite-int8", "--no-familiarity", "--out", tmp_path)
    assert oddeven_here("export", SHIPPED / "mlp.keras", *options).returncode == 0
    manifest, path = load_manifest(tmp_path / "mlp"), tmp_path / "mlp" / "mlp.int8.tflite"
    assert manifest.spec.familiarity is manifest.files[0].familiarity is None
    assert path.stat().st_size < bundled()["mlp"].stat().st_size
    with Classifier.load(path) as one, Classifier.load("mlp") as other, np.load(tmp_path / "mlp" / REFERENCE) as file:
        images = file["images"][:500]
        np.testing.assert_array_equal(one.probabilities(images), other.probabilities(images))
