"""Networks that know ImageNet: their weights, the linear classifier on their features, and when they are taken."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from train.photographs import patches, write

from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import DataError, UsageError
from oddeven.runtime.spec import InputSpec
from oddeven.train import backbones, lite0
from oddeven.train.architectures import build
from oddeven.train.backbones import BACKBONES
from oddeven.train.data import checkout
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.image_folder import load_image_set
from oddeven.train.data.input_pipeline import evaluation_batches, training_batches
from oddeven.train.options import TrainOptions
from oddeven.train.probe import DECAY, FLAT, SMOOTHING, TINY, cross_validate, fit_probe
from oddeven.train.train_command import command

SHAPE = (96, 96, 3)


def given(*arguments):
    """The options that a command line gives."""
    values = command.make_context("train", [str(argument) for argument in arguments]).params
    return TrainOptions(**{field.name: values[field.name] for field in dataclasses.fields(TrainOptions)})


@pytest.fixture(scope="module")
def pretrained():
    model = build("lite0", SHAPE)
    lite0.load_weights(model)
    return model


def test_lite0_is_as_large_as_published(pretrained):
    # EfficientNet-Lite0 has 4.65 million parameters, of which 1280 x 1000 + 1000 are ImageNet's classifier; statistics
    # of batch normalization, 2 of each channel, are no parameters in that count.
    trainable = sum(int(np.prod(weight.shape)) for weight in pretrained.trainable_weights)
    assert trainable - 1281 == 4_652_008 - 1_281_000
    kinds = {type(layer).__name__ for layer in pretrained.layers}
    assert kinds == {"InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Add",
                     "GlobalAveragePooling2D", "Dropout", "Dense"}  # fmt: skip


def test_its_features_tell_two_photographs_apart(pretrained):
    images = np.stack([np.resize(patch, SHAPE) for name in ("china", "flower") for patch in patches()[name][:40]])
    labels = np.repeat(np.array([0, 1], np.uint8), 40)
    body = keras.Model(pretrained.input, pretrained.get_layer("pooled").output)
    x = body.predict((images.astype(np.float32) - 127) / 128, verbose=0)
    p = cross_validate(x, labels, np.arange(80), folds=5, seed=0)
    assert np.mean((p > 0.5) == labels) > 0.9


def test_a_probe_is_logistic_regression(pretrained):
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    labels = (random.random(400) < 0.3).astype(np.uint8)
    x = (random.normal(size=(400, 5)) * [1, 2, 3, 4, 5] + labels[:, None]).astype(np.float32)
    kernel, bias = fit_probe(x, labels)
    deviation = x.std(0)
    z = (x - x.mean(0)) / (deviation + FLAT * deviation.mean() + TINY)
    # A smoothed label is both labels, each with its weight.
    both = np.concatenate([labels, 1 - labels])
    weights = np.repeat([1 - SMOOTHING / 2, SMOOTHING / 2], 400) * np.tile(200 / np.bincount(labels)[labels], 2)
    known = LogisticRegression(C=1 / DECAY, tol=1e-8).fit(np.tile(z, (2, 1)), both, weights)
    np.testing.assert_allclose(x @ kernel + bias, known.decision_function(z), rtol=0, atol=1e-3)


def test_a_group_is_never_in_training_and_in_its_own_fold():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 4)
    labels = (groups % 2).astype(np.uint8)
    # Nothing but the group tells the label: who has seen one of it knows the others.
    x = random.normal(size=(50, 64)).astype(np.float32)[groups]
    together = cross_validate(x, labels, groups, folds=5, seed=0)
    apart = cross_validate(x, labels, np.arange(200), folds=5, seed=0)
    assert np.mean((together > 0.5) == labels) < 0.75 < np.mean((apart > 0.5) == labels)


def test_grey_images_use_the_sum_of_the_first_kernels(pretrained):
    grey = build("lite0", (96, 96, 1))
    lite0.load_weights(grey)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 1)).astype(np.float32)
    three = np.repeat(image, 3, axis=-1)
    tops = [keras.Model(model.input, model.get_layer("stem").output) for model in (grey, pretrained)]
    # Sums of 27 products of numbers below 2 in another order.
    np.testing.assert_allclose(tops[0](image), tops[1](three), rtol=0, atol=27 * 2 * 2.0**-23)


def test_without_a_checkout_one_sentence_says_where_the_weights_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkout, "installed_from", lambda: None)
    images = write(tmp_path / "images", (30, 30))
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(command, ["--data", str(images)])
    assert isinstance(done.exception, DataError)
    assert "--weights FILE" in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "runs"]


@pytest.mark.parametrize(
    ("noted", "found"),
    [
        ('{"url": "file:///home/me/odd%20even", "dir_info": {}}', Path("/home/me/odd even")),
        ('{"url": "file:///home/me/odd", "dir_info": {"editable": true}}', Path("/home/me/odd")),
        ('{"url": "file:///home/me/oddeven.tar.gz", "archive_info": {}}', None),
        ('{"url": "https://example.com/oddeven.git", "vcs_info": {}}', None),
        (None, None),
    ],
)
def test_the_folder_that_pip_installed_is_noted(noted, found, monkeypatch):
    monkeypatch.setattr(checkout, "distribution", lambda name: SimpleNamespace(read_text=lambda file: noted))
    assert checkout.installed_from() == found


def zip_of_text(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.write_bytes(lite0.find_weights().read_bytes()[:100_000]), "holds no weights of lite0"),
        (lambda path: path.unlink(missing_ok=True), "holds no weights of lite0"),
        (zip_of_text, "holds the weights of another network: stem/kernel is nothing"),
        (lambda path: np.savez(path, a=np.zeros(3)), "holds the weights of another network: stem/kernel is nothing"),
    ],
)
def test_weights_of_another_network_and_a_damaged_file_are_refused(change, sentence, tmp_path):
    path = tmp_path / "weights.npz"
    change(path)
    model = build("lite0", SHAPE)
    before = [weight.copy() for weight in model.get_weights()]
    with pytest.raises(DataError, match=sentence) as refusal:
        lite0.load_weights(model, path)
    assert "\n" not in str(refusal.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.long
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:__array__ implementation:DeprecationWarning")
def test_networks_of_keras_applications_take_their_weights_from_a_file(name, tmp_path):
    keras.utils.set_random_seed(1)
    source, target = build(name, SHAPE), build(name, SHAPE)
    body = keras.Model(source.input, source.get_layer("pooled")._inbound_nodes[0].input_tensors[0])
    body.save_weights(tmp_path / "good.weights.h5")
    BACKBONES[name].load_weights(target, tmp_path / "good.weights.h5")
    image = np.random.default_rng(0).uniform(-1, 1, (1, *SHAPE)).astype(np.float32)
    pooled = [keras.Model(m.input, m.get_layer("pooled").output)(image) for m in (source, target)]
    np.testing.assert_array_equal(*pooled)
    assert len(target.get_layer(BACKBONES[name].familiar).output.shape) == 4
    (tmp_path / "bad.weights.h5").write_bytes((tmp_path / "good.weights.h5").read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"bad\.weights\.h5 gives no weights of"):
        BACKBONES[name].load_weights(target, tmp_path / "bad.weights.h5")


@pytest.mark.parametrize("shape", [(64, 64, 3), (100, 96, 3), (256, 256, 3)])
def test_sizes_that_it_was_not_made_for_are_refused(shape):
    with pytest.raises(
        UsageError, match=r"lite0 takes sides of 96 to 224 pixels in steps of 32, not .*--image-size 160"
    ):
        build("lite0", shape)


def test_it_is_taken_for_few_images_in_colour_or_large(tmp_path, monkeypatch):
    images = write(tmp_path / "images", (30, 30))
    of_its_own = ["mlp", "cnn", "deep_cnn"]
    for arguments, named, wanted in [
        ((), (), ["lite0"]),
        (("--image-size", "96x128"), (), ["lite0"]),
        (("--channels", 1, "--image-size", "128"), (), ["lite0"]),
        (("--channels", 1), (), of_its_own),
        (("--image-size", "64"), (), of_its_own),
        (("--recipe", "fast"), (), of_its_own),
        (("--recipe", "transfer"), (), ["lite0"]),
        ((), ("cnn",), ["cnn"]),
    ]:
        assert given("--data", images, *arguments).architectures(named) == wanted, arguments
    assert given().architectures(()) == of_its_own
    assert given("--data", images).source(["lite0"]).input.shape == (160, 160, 3)
    monkeypatch.setattr("oddeven.train.options.FEW", 30)
    assert given("--data", images).architectures(()) == of_its_own


def test_only_the_upper_part_is_trained_and_no_statistics():
    model = build("lite0", SHAPE)
    backbones.freeze(model, "lite0")
    trained = {layer.name.split("_")[0] for layer in model.layers if layer.trainable and layer.weights}
    assert trained == {*(f"block{number}" for number in range(5, 16)), "top", "probability"}
    assert not any(layer.trainable for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))


def test_training_and_evaluation_give_equal_values(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    view = InputSpec(32, 32, 3, lite0.LOW, lite0.HIGH)
    split = load_image_set(ImageSource(str(write(tmp_path / "images", (30, 30))), view)).train
    seen = np.concatenate([x for x, _ in training_batches(split, view, 7, None, 0, range(1))])
    known = np.concatenate([x for x, _ in evaluation_batches(split, view, 7)])
    order = [np.abs(known - x).sum(axis=(1, 2, 3)).argmin() for x in seen]
    assert sorted(order) == list(range(len(split)))
    # A multiplication and an addition more, of numbers below 2.
    np.testing.assert_allclose(seen, known[order], rtol=0, atol=4 * 2.0**-23)


@pytest.mark.long
def test_a_few_photographs_are_enough(tmp_path, run, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = write(tmp_path / "images", (60, 60), names=("good", "bad"))
    done = run("train", "--data", images, "--image-size", 96, "--epochs", 2, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "training lite0, which knows ImageNet: fewer than 5,000 images of a label" in done.stderr
    spec = read_spec(tmp_path / "runs" / "lite0" / "lite0.keras")
    assert spec.provenance.recipe == "transfer (augment strong, balanced)"
    assert (spec.input.low, spec.input.high) == (lite0.LOW, lite0.HIGH)
    out = tmp_path / "artifacts"
    done = run("export", tmp_path / "runs" / "lite0" / "lite0.keras", "--format", "tflite-int8", "--out", out, "--json")
    assert '"agreement": 1.0' in done.stdout, done.stderr
