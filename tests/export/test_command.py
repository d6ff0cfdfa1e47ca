"""The whole command: on Keras models that are not ours, and killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from conftest import SHIPPED
from keras import layers

from oddeven.export.formats import FORMATS
from oddeven.runtime import Classifier
from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.cli.main import cli
from oddeven.runtime.engines.metadata import attach_to_keras
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.files import alone_in
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance
from oddeven.train.data.dataset import Dataset, Split
from oddeven.train.data.registry import DATASETS

# Keras's own, whenever it reads a variable under NumPy 2, to save it for one.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURE = InputSpec(32, 40, 3)
QUICK = ("tflite-float32", "tflite-int8", "onnx-float32", "onnx-int8")


def split(count, seed):
    """Noise in which red outweighs blue, or blue red, by 40 levels: answer 1 is red."""
    noise = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.uint8)
    images = noise.integers(60, 190, (count, *PICTURE.shape), dtype=np.uint8)
    images[labels == 1, ..., 0] += 40
    images[labels == 0, ..., 2] += 40
    slices = np.array(["dim", "bright"])[np.arange(count) // 2 % 2]
    return Split(images, labels, slices, np.arange(count))


@pytest.fixture
def colours(monkeypatch):
    """A second dataset, of RGB pictures 32 high and 40 wide, as a row of the table."""
    parts = split(600, 0), split(300, 1), split(1500, 2)
    data = Dataset("colours", "0" * 64, ("blue", "red"), PICTURE, *parts)
    monkeypatch.setitem(DATASETS, "colours", lambda file: data)
    return data


@pytest.fixture
def save(tmp_path):
    def save_model(model, labels=("blue", "red"), name="foreign"):
        path = tmp_path / "foreign.keras"
        model.save(path)
        provenance = Provenance("colours", "0" * 64, "elsewhere", 1, 0, {})
        attach_to_keras(path, ModelSpec(name, labels, PICTURE, provenance))
        return path

    return save_model


def colour_model(units, activation=None, *before):
    """Mean colour, then a Dense layer whose logit is 20 times red over blue, so +3 or -3; of several units, the last's.

    `before` are layers in front of it.
    """
    last = layers.Dense(units, activation=activation)
    model = keras.Sequential([keras.Input(PICTURE.shape), layers.GlobalAveragePooling2D(), *before, last])
    kernel = np.zeros((3, units))
    kernel[0, -1], kernel[2, -1] = 20, -20
    last.set_weights([kernel, np.zeros(units)])
    return model


def export(path, out, *options):
    chosen = [word for name in QUICK for word in ("--format", name)]
    return CliRunner().invoke(cli, ["export", str(path), "--out", str(out), *chosen, *options])


@pytest.mark.parametrize(
    ("units", "activation", "options"),
    [(1, "sigmoid", []), (2, "softmax", []), (1, None, ["--from-logits"]), (2, None, ["--from-logits"])],
)
def test_a_colour_model_from_elsewhere_is_proven_and_answers(units, activation, options, colours, save, tmp_path):
    done = export(save(colour_model(units, activation)), tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    records = load_manifest(tmp_path / "out" / "foreign").files
    assert [record.format for record in records] == list(QUICK)
    for record in records:
        assert record.parity.file.accuracy == 1.0
        assert {part.name for part in record.parity.slices} == {"bright", "dim"}
        with Classifier.load(tmp_path / "out" / "foreign" / record.file) as classifier:
            answers = list(classifier.predict_batch(colours.test.images[:4]))
        assert [answer.label for answer in answers] == ["blue", "red", "blue", "red"]
        if record.file.endswith(".onnx"):
            model = onnx.load(tmp_path / "out" / "foreign" / record.file)
            assert {"Rgb8"} == {row.value for row in model.metadata_props if row.key == "Image.BitmapPixelFormat"}


def two_outputs():
    image = keras.Input(PICTURE.shape)
    mean = layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, [layers.Dense(1, "sigmoid", name=name)(mean) for name in ("red", "wet")])


REFUSED = {
    "two outputs": (two_outputs, [], "has 2 outputs (red, wet); expected one."),
    "a logit": (lambda: colour_model(1), [], "gives no probability; add a sigmoid or pass --from-logits."),
    "no logit": (lambda: colour_model(1, "sigmoid"), ["--from-logits"], "leave out --from-logits."),
    "code": (lambda: colour_model(1, "sigmoid", layers.Lambda(lambda x: x)), [], "only safe models are read"),
    "three classes": (lambda: colour_model(3, "softmax"), [], "gives shape (3,) with softmax"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_cannot_be_exported_is_one_sentence_and_leaves_nothing(kind, colours, save, tmp_path):
    make, options, sentence = REFUSED[kind]
    done = export(save(make()), tmp_path / "out", *options)
    assert isinstance(done.exception, ModelError)
    assert "foreign.keras" in str(done.exception)
    assert sentence in str(done.exception)
    assert "\n" not in str(done.exception)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_with_dots_in_its_name_keeps_its_golden_answers(colours, save, tmp_path, run):
    path = save(colour_model(1, "sigmoid"), name="my.int8.model")
    assert export(path, tmp_path / "out").exit_code == 0
    folder = tmp_path / "out" / "my.int8.model"
    files = {FORMATS[name].file_name("my.int8.model") for name in QUICK}
    assert {path.name for path in folder.glob("my.int8.model.*")} == {*files, "my.int8.model.selftest.npz"}
    done = run("selftest", folder, "--json")
    assert done.returncode == 0, done.stderr
    done = run("verify", folder, "--json", "-")
    assert done.returncode == 0, done.stderr
    for file in json.loads(done.stdout)["files"]:
        assert "self-test" in {check["name"] for check in file["checks"]}
    done = run("bundle", folder, "--out", tmp_path / "pi.zip")
    assert "my.int8.model.int8.tflite" in done.stdout, done.stderr


def test_an_export_that_fails_leaves_no_manifest_for_files_that_are_not_its_own(colours, save, tmp_path, monkeypatch):
    path = save(colour_model(1, "sigmoid"))
    manifest = tmp_path / "out" / "foreign" / "manifest.json"
    assert export(path, tmp_path / "out").exit_code == 0
    assert manifest.is_file()

    def fail(source):
        raise ModelError("cannot be converted")

    monkeypatch.setitem(FORMATS, "tflite-int8", replace(FORMATS["tflite-int8"], converter=fail))
    done = export(path, tmp_path / "out")
    assert "cannot be converted" in str(done.exception)
    assert not manifest.exists()


def test_files_that_an_earlier_export_left_are_named(colours, save, tmp_path):
    path, left = save(colour_model(1, "sigmoid")), tmp_path / "out" / "foreign" / "foreign.float16.tflite"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"earlier")
    assert f"still has {left.name} of an earlier export" in export(path, tmp_path / "out").stderr
    assert left.read_bytes() == b"earlier"


def test_two_exports_do_not_meet_in_one_folder(colours, save, tmp_path):
    path = save(colour_model(1, "sigmoid"))
    (tmp_path / "out").mkdir()
    with alone_in(tmp_path / "out"):
        done = export(path, tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert "Another oddeven writes to" in str(done.exception)
    assert list((tmp_path / "out").iterdir()) == []


def test_two_models_of_one_name_are_not_exported_to_one_folder(colours, save, tmp_path):
    path = save(colour_model(1, "sigmoid"))
    shutil.copy(path, tmp_path / "other.keras")
    done = export(path, tmp_path / "out", str(tmp_path / "other.keras"))
    assert isinstance(done.exception, UsageError)
    assert "are both called 'foreign'" in str(done.exception)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_model_is_one_sentence_at_once(content, tmp_path):
    (tmp_path / "x.keras").write_bytes(content)
    done = export(tmp_path / "x.keras", tmp_path / "out")
    assert isinstance(done.exception, ModelError)
    assert "is empty, cut short or damaged" in str(done.exception)
    assert not (tmp_path / "out").exists()


def killed(out, lines, delay_s):
    """Export the cnn until that many files have begun, and a little longer; then SIGKILL, which nothing can catch."""
    chosen = [word for name in QUICK for word in ("--format", name)]
    command = [sys.executable, "-m", "oddeven.runtime", "export", SHIPPED / "cnn.keras", "--out", out, *chosen]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        begun = 0
        while begun < lines and (line := process.stderr.readline()):
            begun += line.startswith("cnn.")
        assert begun == lines
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_whole_files_only_and_a_second_run_completes_the_folder(exported, tmp_path, run):
    moments = random.Random(0)
    folder = tmp_path / "cnn"
    for lines in (1, 3):
        killed(tmp_path, lines, moments.uniform(0, 0.6))
        assert (folder / "reference.npz").is_file()
        for path in folder.glob("[!.]*"):
            assert path.read_bytes() == (exported / path.name).read_bytes()
        assert not (folder / "manifest.json").exists()
    chosen = [word for name in QUICK for word in ("--format", name)]
    done = run("export", SHIPPED / "cnn.keras", "--out", tmp_path, *chosen)
    assert done.returncode == 0, done.stderr
    files = {FORMATS[name].file_name("cnn") for name in QUICK}
    beside = {"manifest.json", "reference.npz", "validation.npz", "cnn.selftest.npz", "README.md"}
    assert {path.name for path in folder.iterdir()} == beside | files
    assert {path.name for path in tmp_path.iterdir()} == {"cnn", "parity.json", "parity.md", "report.html"}
    for name in files:
        assert (folder / name).read_bytes() == (exported / name).read_bytes()
    assert len(json.loads((tmp_path / "parity.json").read_text())["files"]) == 4
