"""Training runs as a user starts, kills and restarts them."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from train.short_run import plan

from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import alone_in
from oddeven.train import fit
from oddeven.train.checkpoint import ENTRY, restore_checkpoint
from oddeven.train.fit import train

SCRIPT = Path(__file__).with_name("short_run.py")
EPOCHS = 3


def start(folder):
    command = [sys.executable, str(SCRIPT), str(folder), str(EPOCHS)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def weights(folder):
    with zipfile.ZipFile(folder / "deep_cnn.keras") as archive:
        return archive.read("model.weights.h5")


def epochs_saved(path):
    with zipfile.ZipFile(path) as archive:
        return len(json.loads(archive.read(ENTRY))["history"]["loss"])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(folder)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    return folder


@pytest.mark.slow
def test_a_killed_run_resumes_and_ends_bit_for_bit_like_an_unbroken_one(unbroken, tmp_path):
    process = start(tmp_path)
    saved = tmp_path / ".checkpoint.keras"
    deadline = time.monotonic() + 120
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 1 <= epochs_saved(saved) < EPOCHS
    assert not (tmp_path / "deep_cnn.keras").exists()

    again = start(tmp_path)
    _, errors = again.communicate(timeout=180)
    assert again.returncode == 0, errors
    assert "resuming after epoch" in errors
    assert weights(tmp_path) == weights(unbroken)
    assert not saved.exists()


def test_the_saved_model_carries_its_spec_and_predicts_as_its_history_says(unbroken, raw):
    import keras

    path = unbroken / "deep_cnn.keras"
    record = json.loads((unbroken / "history.json").read_text())
    spec = read_spec(path)
    assert (spec.name, spec.labels, spec.input.shape) == ("deep_cnn", ("even", "odd"), (28, 28, 1))
    assert (spec.provenance.recipe, spec.provenance.seed, spec.provenance.epochs) == ("fast", 5, EPOCHS)
    model = keras.saving.load_model(path)
    answers = model.predict(raw["x_test"][:1000, ..., None] / np.float32(255), verbose=0)[0][:, 0] > 0.5
    assert np.mean(answers == raw["y_test"][:1000] % 2) == pytest.approx(record["test_accuracy"], abs=1e-9)
    assert {len(values) for values in record["history"].values()} == {EPOCHS}


def test_a_finished_run_is_not_trained_again(unbroken, capsys):
    before = (unbroken / "deep_cnn.keras").stat().st_mtime_ns
    result = train(plan(EPOCHS), unbroken)
    assert "already trained" in capsys.readouterr().err
    assert result.test_accuracy == json.loads((unbroken / "history.json").read_text())["test_accuracy"]
    assert (unbroken / "deep_cnn.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other",
    [
        {"labels": ("even", "uneven")},
        {"input": dataclasses.replace(plan(EPOCHS).dataset.input, preprocessing="squash")},
    ],
)
def test_a_finished_run_is_trained_again_for_other_labels_or_another_preprocessing(unbroken, monkeypatch, other):
    class Trained(BaseException):
        pass

    def trained(*_):
        raise Trained

    monkeypatch.setattr(fit, "_fit", trained)
    same = plan(EPOCHS)
    with pytest.raises(Trained):
        train(dataclasses.replace(same, dataset=dataclasses.replace(same.dataset, **other)), unbroken)


@pytest.mark.parametrize("harm", [b"{", b"[]", b'{"provenance": {}}'])
def test_a_damaged_record_of_a_finished_run_is_one_sentence(unbroken, tmp_path, harm):
    shutil.copytree(unbroken, tmp_path / "copy")
    record = tmp_path / "copy" / "history.json"
    record.write_bytes(harm)
    with pytest.raises(ModelError, match=f"^{re.escape(str(record))}: ") as refused:
        train(plan(EPOCHS), tmp_path / "copy")
    assert "\n" not in str(refused.value)
    assert record.read_bytes() == harm


@pytest.mark.slow
def test_two_runs_do_not_train_in_one_folder(run, tmp_path):
    (tmp_path / "mlp").mkdir()
    with alone_in(tmp_path / "mlp"):
        done = run("train", "mlp", "--quick", "--out", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Another oddeven writes to" in done.stderr


def test_a_damaged_checkpoint_is_not_resumed(tmp_path):
    path = tmp_path / ".checkpoint.keras"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(ENTRY, json.dumps([1]))
    for content in (b"", b"PK\x03\x04 not really", whole.getvalue()):
        path.write_bytes(content)
        assert restore_checkpoint(path, None, None) is None
    assert restore_checkpoint(tmp_path / "absent.keras", None, None) is None


@pytest.mark.slow
def test_quick_says_loudly_what_it_is_and_draws_every_plot(run, tmp_path):
    done = run("train", "mlp", "cnn", "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SMOKE RUN" in done.stderr
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    for name in ("mlp", "cnn"):
        assert {f"{name}/{name}.keras", f"{name}/history.json", f"{name}/curves.png", f"{name}/predictions.png"} <= made
    assert {"dataset.png", "comparison.png"} <= made
    assert read_spec(tmp_path / "mlp" / "mlp.keras").provenance.recipe == "fast (quick)"
    # Results alone go to stdout; Keras's progress does not.
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["model", "-----", "mlp", "cnn"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnet"], "'resnet' is not one of 'mlp', 'cnn', 'deep_cnn', 'tiny'"),
        (["--recipe", "slow"], "'slow' is not one of 'classic', 'fast', 'best'"),
        (["--dataset", "cifar"], "'cifar' is not"),
        (["--quick", "--epochs", "3"], "leave out --epochs"),
    ],
)
def test_wrong_names_list_the_right_ones(run, tmp_path, arguments, says):
    done = run("train", *arguments, "--out", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
