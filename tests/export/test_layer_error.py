"""The layers that the report of a failing file names, against Keras's own activations."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import SHIPPED

from oddeven.export.activations import activations
from oddeven.export.conversion import Conversion, first_output
from oddeven.export.diagnosis import explain_failure, worst_layers
from oddeven.export.formats import FORMATS
from oddeven.runtime.cli.main import cli
from oddeven.runtime.engines.metadata import attach_to_keras, read_spec
from oddeven.runtime.engines.saturation import layer_name
from oddeven.runtime.parity.compare import compare
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.verify.report import FileReport
from oddeven.train.familiarity import load_without_familiarity

# Keras's own, whenever it reads a variable under NumPy 2, to save it for one.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SUFFIXES = (".tflite", ".onnx")


@pytest.fixture
def pictures(raw):
    return raw["x_train"][:20, ..., None]


@pytest.fixture
def made(tmp_path, raw):
    """Write the shipped model `name` in a format, with the calibration pictures turned into `calibration`."""

    def make(name, kind, calibration=lambda x: x):
        model, row = keras.saving.load_model(SHIPPED / f"{name}.keras", compile=False), FORMATS[kind]
        spec = dataclasses.replace(read_spec(SHIPPED / f"{name}.keras"), precision=row.precision)
        images = calibration(raw["x_train"][:200, ..., None] / np.float32(255))
        source = Conversion(*first_output(model, spec), images)
        path = tmp_path / row.file_name(name)
        path.write_bytes(row.convert(source))
        return path, source

    return make


def keras_activations(model, pictures):
    """What each layer gives, as Keras computes it."""
    outputs = {layer.name: layer.output for layer in model.layers}
    return keras.Model(model.inputs, outputs).predict(pictures / np.float32(255), verbose=0)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["mlp", "cnn", "deep_cnn"])
def test_a_tensor_is_named_after_the_keras_layer_that_gives_it(name, suffix, made, pictures):
    path, source = made(name, f"{suffix[1:]}-float32")
    truth = keras_activations(source.model, pictures)
    found = {}
    for tensor, x in activations(path, pictures).items():
        found.setdefault(layer_name(tensor), []).append(x)
    layers = [layer.name for layer in source.model.layers if layer.weights and layer.name != "probability"]
    assert len(layers) >= 3
    for layer in layers:
        # Sums of at most 1,024 float32 products, ordered differently; other layers' outputs differ by all they have.
        limit = 1024 * 2**-24 * np.abs(truth[layer]).max()
        assert any(x.shape == truth[layer].shape and np.abs(x - truth[layer]).max() < limit for x in found[layer])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_error_is_the_mean_over_channels_of_the_relative_error(suffix, made, pictures):
    path, source = made("cnn", f"{suffix[1:]}-int8")
    x = keras_activations(source.model, pictures)["conv2d"]
    read = activations(path, pictures)
    (y,) = (y for name, y in read.items() if name.startswith("cnn_1/conv2d_1/Relu") and "Linear" not in name)
    size = [np.linalg.norm(x[..., c]) for c in range(32)]
    relative = [np.linalg.norm(y[..., c] - x[..., c]) / size[c] for c in range(32) if size[c] > 0]
    errors = {found.layer: found.error for found in worst_layers(path, source, pictures)}
    # Keras and the float file differ by rounding only.
    assert errors["conv2d"] == pytest.approx(np.mean(relative), rel=1e-3)
    assert 0 < errors["conv2d"] < 0.05


def test_pixels_that_the_calibration_never_saw_are_lost_at_the_entrance(made, pictures):
    path, source = made("mlp", "onnx-int8", lambda x: x / 50)
    worst = worst_layers(path, source, pictures)
    assert worst[0].layer == "flatten"
    # All that is above 1/50 is clipped to it.
    assert worst[0].error > 0.9


def outlier(path):
    """The shipped cnn with one channel of its first convolution 1,000 times as large, which the second undoes.

    As functions both are equal; but 8 bits over the large channel's range leave nothing for the other 31.
    """
    model, spec = load_without_familiarity(SHIPPED / "cnn.keras"), read_spec(SHIPPED / "cnn.keras")
    first, second = model.get_layer("conv2d"), model.get_layer("conv2d_1")
    kernel, bias = first.get_weights()
    kernel[..., 3] *= 1024
    bias[3] *= 1024
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, 3] /= 1024
    second.set_weights([kernel, bias])
    model.save(path)
    attach_to_keras(path, dataclasses.replace(spec, familiarity=None, min_familiarity=0.0))


@pytest.mark.parametrize(
    ("changed", "swapped", "verdict", "explained"),
    [
        (0, False, "INCONCLUSIVE", False),  # for want of images, whatever it was calibrated on
        (50, False, "FAIL", True),
        (50, True, "FAIL", False),
    ],
)
def test_only_a_file_that_fails_is_told_what_to_try(changed, swapped, verdict, explained):
    labels = np.arange(100, dtype=np.uint8) % 2
    reference = np.abs(np.float32(0.9) - (labels == swapped))
    p = np.where(np.arange(100) < changed, 1 - reference, reference)
    parity = compare(reference, p, labels, np.full(100, "all"), 0.5, "dynamic", Policy())
    report = FileReport("m", ("a", "b"), "m", "tflite-dynamic", "dynamic", "litert", 1, 1.0, "", "", parity)
    found = explain_failure(report, Path("m.dynamic.tflite"), None, None)
    assert (found.verdict, bool(found.advice)) == (verdict, explained)


@pytest.mark.slow
def test_the_report_of_a_failing_file_names_the_layer_and_the_next_thing_to_try(tmp_path):
    outlier(tmp_path / "cnn.keras")
    kinds = ("tflite-float32", "tflite-dynamic", "tflite-int8", "onnx-int8")
    options = ["--out", str(tmp_path / "out"), "--calibration-size", "200", "--calibration-check"]
    options += [word for kind in kinds for word in ("--format", kind)]
    done = CliRunner().invoke(cli, ["export", str(tmp_path / "cnn.keras"), *options])
    assert done.exit_code == 1
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    float32, dynamic, *quantized = report["files"]
    assert (float32["parity"]["verdict"], float32["layers"], float32["advice"]) == ("PASS", [], "")
    assert (dynamic["parity"]["verdict"], dynamic["layers"]) == ("FAIL", [])
    assert "try the calibrated int8 file" in dynamic["advice"]
    for file, next_format in zip(quantized, ("tflite-int16x8", "onnx-float16"), strict=True):
        assert file["parity"]["verdict"] == "FAIL"
        assert file["layers"][0]["layer"] == "conv2d"
        assert file["layers"][0]["error"] > 0.5
        assert len(file["layers"]) <= 5
        assert file["advice"].startswith("Most of its error arises in conv2d (9")
        assert next_format in file["advice"]
        for page in ("report.html", "parity.md"):
            assert file["advice"] in (tmp_path / "out" / page).read_text()
    assert [(s["format"], s["draw"], s["count"]) for s in report["stability"]] == [
        ("tflite-int8", 200, 10_000), ("onnx-int8", 200, 10_000)
    ]  # fmt: skip
