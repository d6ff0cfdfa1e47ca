"""Exports that are broken on purpose, one for every way the gate can fail: each must be caught, and named.

A developer's mistake writes a manifest and golden answers that fit the broken file, so most of these do too.
"""

from __future__ import annotations

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from conftest import SHIPPED

from oddeven.export.calibration import draw_calibration
from oddeven.export.conversion import Conversion
from oddeven.export.export import Settings, export_model
from oddeven.export.formats import FORMATS
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256
from oddeven.runtime.verify.golden import load_golden, save_golden
from oddeven.train.data.registry import load_dataset

SURE = "of all would; allowed is 0.20%"


@pytest.fixture
def model():
    return keras.saving.load_model(SHIPPED / "cnn.keras", compile=False)


@pytest.fixture
def pictures(raw):
    return raw["x_train"][:200, ..., None] / np.float32(255)


@pytest.fixture
def broken(exported, tmp_path, model, pictures, run_here):
    """Put a file converted from a changed `Conversion` into a copy of a good folder, and verify it."""

    def verify(name, tamper):
        row = FORMATS[name]
        folder = shutil.copytree(exported, tmp_path / "cnn")
        spec = dataclasses.replace(read_spec(SHIPPED / "cnn.keras"), precision=row.precision)
        content = row.convert(tamper(Conversion(model, spec, pictures)))
        (folder / row.file_name("cnn")).write_bytes(content)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"] = [record for record in manifest["files"] if record["format"] == name]
        answers = folder / "cnn.selftest.npz"
        golden = load_golden(answers)
        with Classifier.load(folder / row.file_name("cnn")) as classifier:
            p, known = classifier.scores(golden.images)
            golden.answers[row.file_name("cnn")], golden.familiarities[row.file_name("cnn")] = p, known
        save_golden(golden, answers)
        manifest["selftest_sha256"] = sha256(answers.read_bytes())
        manifest["files"][0].update(sha256=sha256(content), size_bytes=len(content))
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return run_here("verify", folder)

    return verify


def test_the_untampered_file_passes(broken):
    done = broken("tflite-int8", lambda source: source)
    assert done.returncode == 0, done.stderr


def perturbed(source):
    """Only the dense layers: on other feature maps the second output's ranges are some that XNNPACK refuses."""
    random = np.random.default_rng(0)
    for weight in source.model.weights:
        if "dense" in weight.path:
            w = weight.numpy()
            weight.assign(w + random.normal(0, 2 * w.std(), w.shape))
    return source


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-int8", "onnx-float16", "onnx-int8"])
def test_perturbed_weights_fail(broken, name):
    done = broken(name, perturbed)
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert SURE in done.stderr or "predictions differ" in done.stderr


def test_pixels_that_were_not_divided_by_255_when_calibrating_fail(broken):
    done = broken("tflite-int8", lambda source: dataclasses.replace(source, calibration=source.calibration * 255))
    assert done.returncode == 1
    assert SURE in done.stderr


def test_calibration_on_dark_noise_fails(broken):
    noise = np.random.default_rng(0).uniform(0, 0.02, (200, 28, 28, 1)).astype(np.float32)
    done = broken("onnx-int8", lambda source: dataclasses.replace(source, calibration=noise))
    assert done.returncode == 1
    assert SURE in done.stderr


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": ("odd", "even")}, "labels"),
        ({"name": "mlp"}, "name"),
        ({"threshold": 0.9}, "threshold"),
    ],
)
def test_the_spec_of_another_model_is_refused_by_field(broken, change, field):
    done = broken(
        "tflite-int8",
        lambda source: dataclasses.replace(source, spec=dataclasses.replace(source.spec, **change)),
    )
    assert done.returncode == 4
    assert f"carries the spec of another model: its {field} is" in done.stderr


def test_another_preprocessing_is_refused(broken):
    def tamper(source):
        other = dataclasses.replace(source.spec.input, high=255.0)
        return dataclasses.replace(source, spec=dataclasses.replace(source.spec, input=other))

    done = broken("onnx-float32", tamper)
    assert done.returncode == 4
    assert "its input is" in done.stderr


def test_a_reference_with_swapped_labels_fails(exported, tmp_path, run_here):
    folder = shutil.copytree(exported, tmp_path / "cnn")
    with np.load(folder / "reference.npz") as file:
        arrays = {key: file[key] for key in file.files}
    arrays["labels"] = 1 - arrays["labels"]
    np.savez_compressed(folder / "reference.npz", **arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["reference_sha256"] = sha256((folder / "reference.npz").read_bytes())
    manifest["files"] = manifest["files"][:1]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = run_here("verify", folder)
    assert done.returncode == 1
    assert "ranks the labels the wrong way round" in done.stderr


def test_a_truncated_file_is_refused(exported, tmp_path, run_here):
    folder = shutil.copytree(exported, tmp_path / "cnn")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = manifest["files"][:1]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = folder / manifest["files"][0]["file"]
    path.write_bytes(path.read_bytes()[:-1000])
    done = run_here("verify", folder)
    assert done.returncode == 4
    assert "is not the file its manifest lists" in done.stderr


def test_four_calibration_pictures_are_refused(tmp_path):
    settings = Settings(formats=("tflite-int8",), calibration_size=4)
    with pytest.raises(DataError, match="4"):
        export_model(SHIPPED / "cnn.keras", load_dataset("mnist"), settings, tmp_path, print, print)
    assert not (tmp_path / "manifest.json").exists()


def test_a_test_picture_in_the_calibration_set_is_refused(tmp_path, monkeypatch):
    data = load_dataset("mnist")
    images, record = draw_calibration(data, 100)
    images[7] = data.test.images[1234]
    monkeypatch.setattr("oddeven.export.export.draw_calibration", lambda *_: (images, record))
    with pytest.raises(DataError, match="1234"):
        export_model(SHIPPED / "cnn.keras", data, Settings(formats=("tflite-int8",)), tmp_path, print, print)


def test_too_few_test_pictures_are_inconclusive_and_not_a_pass(exported, tmp_path, run_here):
    folder = shutil.copytree(exported, tmp_path / "cnn")
    with np.load(folder / "reference.npz") as file:
        arrays = {key: file[key][:100] if file[key].ndim else file[key] for key in file.files}
    np.savez_compressed(folder / "reference.npz", **arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["reference_sha256"] = sha256((folder / "reference.npz").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = run_here("verify", folder, "--strict")
    assert done.returncode == 1
    assert "INCONCLUSIVE" in done.stdout
    assert "passes on about 2,400 with 80% probability" in done.stderr
