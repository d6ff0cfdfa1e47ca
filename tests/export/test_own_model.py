"""Models from elsewhere: which are read, which value range is found, and the sentence for those that are refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from export.own_models import LABELS, SIDE, keras_model, onnx_model, write_images
from keras import layers

from oddeven.export.own_model import describe, read_any_model
from oddeven.runtime.cli.main import cli
from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.images.preprocess import to_float

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROUNDING = 2.0**-24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def saved(model, path):
    model.export(path, verbose=False) if not path.suffix else model.save(path)
    return path


def accuracy(own, path, from_logits=False):
    split = own.dataset.test
    p = own.load(path, from_logits).predict(to_float(split.images, own.spec.input), verbose=0)
    assert p.shape == (len(split), 1)
    return np.mean((p[:, 0] > 0.5) == split.labels)


@pytest.mark.parametrize("name", ["mine.keras", "mine.h5", "mine"])
@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (2, "softmax")])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras's, on the .h5 format
def test_each_kind_of_keras_model_is_right_for_the_images(name, units, activation, tmp_path, data):
    path = saved(keras_model(units, activation), tmp_path / name)
    own = describe(path, LABELS, data, None, "squash", False)
    assert (own.spec.labels, own.spec.input.shape) == (LABELS, (SIDE, SIDE, 3))
    assert own.spec.name == path.stem
    assert accuracy(own, path) == 1.0


@pytest.mark.parametrize("name", ["mine.keras", "mine"])
@pytest.mark.parametrize("units", [1, 2])
def test_logits_are_taken_on_request(name, units, tmp_path, data):
    path = saved(keras_model(units, None), tmp_path / name)
    assert accuracy(describe(path, LABELS, data, None, "squash", True), path, True) == 1.0


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("units", "end"), [(1, "Sigmoid"), (2, "Softmax"), (1, None), (2, None)])
@pytest.mark.parametrize("opset", [11, 17])
def test_an_onnx_model_with_channels_first_or_last_is_right_for_the_images(first, units, end, opset, tmp_path, data):
    path = onnx_model(tmp_path / "existing.onnx", first, units, end, opset=opset)
    own = describe(path, LABELS, data, None, "squash", end is None)
    assert own.spec.input.shape == (SIDE, SIDE, 3)
    assert accuracy(own, path, end is None) == 1.0


# Each model is no better than chance under the other ranges, or its predictions are far less sure.
MADE_FOR = {
    "0..1": lambda: keras_model(before=[layers.Rescaling(255.0), layers.Rescaling(1 / 255)]),
    "-1..1": lambda: keras_model(before=[layers.Rescaling(0.5, 0.5), layers.ReLU(1.0)]),
    "0..255": lambda: keras_model(before=[layers.Rescaling(1 / 255), layers.Normalization(mean=0.1, variance=1.0)]),
}


@pytest.mark.parametrize("name", MADE_FOR)
def test_the_value_range_is_found(name, tmp_path, data):
    path = saved(MADE_FOR[name](), tmp_path / "mine.keras")
    own = describe(path, LABELS, data, name, "squash", False)
    assert f"value range {name}, right for 100.0%" in own.finding
    assert accuracy(own, path) == 1.0


def test_a_range_that_does_not_do_is_named_with_one_that_does(tmp_path, data):
    # Below 40 the ReLU gives 0, so 0..1 and -1..1 tell nothing.
    path = saved(keras_model(before=[layers.Rescaling(1 / 100), layers.ReLU(threshold=0.4)]), tmp_path / "mine.keras")
    with pytest.raises(
        UsageError, match=r"right for 50% of .* range 0\.\.1, no better than chance; give --range 0\.\.255, under"
    ):
        describe(path, LABELS, data, "0..1", "squash", False)
    assert "value range 0..255" in describe(path, LABELS, data, None, "squash", False).finding


def test_blue_first_is_named_and_on_request_turned(tmp_path, data):
    path = saved(keras_model(channels=(2, 0)), tmp_path / "mine.keras")
    with pytest.raises(UsageError, match=r"turn the labels round, --labels red,blue.* or give --range (caffe|.*-bgr),"):
        describe(path, LABELS, data, None, "squash", False)
    assert accuracy(describe(path, LABELS, data, "0..1-bgr", "squash", False), path) == 1.0


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_mean_and_deviation_become_part_of_the_model(kind, tmp_path, data):
    path = tmp_path / f"mine.{kind}"
    onnx_model(path) if kind == "onnx" else saved(keras_model(), path)
    own = describe(path, LABELS, data, "imagenet", "squash", False)
    x = to_float(own.dataset.test.images, own.spec.input)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    bare = read_any_model(path, False).predict(((x - mean) / deviation).astype(np.float32), verbose=0)
    # Values up to 3, sums of 3 products and a mean over 1024 of them, through a slope of at most STEEP / 4.
    np.testing.assert_allclose(own.load(path, False).predict(x, verbose=0), bare, rtol=0, atol=3 * 1024 * ROUNDING)


def test_a_model_that_knows_nothing_is_refused(tmp_path, data):
    model = keras_model()
    model.layers[-1].set_weights([np.zeros((3, 1)), np.ones(1)])
    with pytest.raises(
        ModelError, match=r"no better than chance \(at most 50% of \d+ images\) under every value range"
    ):
        describe(saved(model, tmp_path / "mine.keras"), LABELS, data, None, "squash", False)


def two_inputs():
    image, side = keras.Input((8, 8, 3), name="image"), keras.Input((3,), name="side")
    both = layers.Concatenate()([layers.Flatten()(image), side])
    return keras.Model([image, side], layers.Dense(1, "sigmoid")(both))


def sequence(*body, shape=(8, 8, 3), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *body])


def halves():
    with keras.device("cpu"):
        return sequence(layers.Flatten(dtype="float16"), layers.Dense(1, "sigmoid", dtype="float16"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (two_inputs, r"has 2 inputs \(image, side\); expected one"),
        (lambda: sequence(layers.Flatten(), layers.Dense(10, "softmax")), r"gives shape \(10,\) with softmax"),
        (lambda: sequence(layers.Dense(1, "sigmoid"), shape=(64,)), "takes flat rows of 64 numbers, expected images"),
        (lambda: sequence(layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid"), shape=(None, None, 3)),
         r"takes images of shape \(None, None, 3\), expected images of one size"),
        (lambda: sequence(layers.Flatten(), layers.Dense(1, "sigmoid"), shape=(8, 8, 4)), r"shape \(8, 8, 4\)"),
        (halves, "has weights of float16 .*; expected float32"),
        (lambda: sequence(layers.Lambda(lambda x: x), layers.Flatten(), layers.Dense(1, "sigmoid")), "only safe"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_keras_model_that_is_none_of_two_classes_is_one_sentence(make, sentence, suffix, tmp_path):
    with pytest.raises(ModelError, match=sentence) as refusal:
        read_any_model(saved(make(), tmp_path / f"mine{suffix}"), False)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"units": 10, "end": "Softmax"}, r"gives \[10\] for an image; expected one or two numbers"),
        ({"end": None}, "ends in Gemm, so it gives no probability; add a sigmoid or pass --from-logits"),
        ({"side": "side"}, "takes images of any size, .* Fix the size with: python -m onnxruntime.tools"),
        ({"kind": 10}, "computes in float16; expected float32"),
        ({"kind": 2}, "takes uint8"),
    ],
)
def test_an_onnx_model_that_is_none_of_two_classes_is_one_sentence(changes, sentence, tmp_path):
    path = onnx_model(tmp_path / "existing.onnx", **changes)
    with pytest.raises(ModelError, match=sentence):
        read_any_model(path, False)


@pytest.mark.parametrize("name", ["mine.keras", "mine.h5", "mine.onnx", "mine"])
def test_a_damaged_model_is_one_sentence(name, tmp_path):
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"\x08\x08not a model at all")
    else:
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"\x08\x08not a model at all")
    with pytest.raises(ModelError) as refusal:
        read_any_model(path, False)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_labels_and_images_must_fit(tmp_path, data):
    path = saved(keras_model(), tmp_path / "mine.keras")
    with pytest.raises(UsageError, match="no label 'green'; known are"):
        describe(path, ("green", "red"), data, None, "squash", False)
    with pytest.raises(DataError, match="There is no folder"):
        describe(path, LABELS, tmp_path / "absent", None, "squash", False)
    asked = {
        ("--labels", "blue,red"): (2, "--labels needs images"),
        ("--labels", "a,b,c", "--data", data): (2, "--labels a,b,c is not two labels"),
        ("--range", "0..1"): (2, "--range is about a model from elsewhere"),
        ("--fit", "raw"): (2, "--fit is about a model from elsewhere"),
        (): (4, "carries no ModelSpec; train it with oddeven train, or add --labels A,B --data FOLDER"),
    }
    for options, (code, sentence) in asked.items():
        error = CliRunner().invoke(cli, ["export", *map(str, (path, *options, "--out", tmp_path / "out"))]).exception
        assert (error.exit_code, sentence in str(error)) == (code, True), error
    assert not (tmp_path / "out").exists()
