"""Golden answers, and what happens to a device that does not give them."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from oddeven.runtime.artifacts.resolve import MODELS, bundled
from oddeven.runtime.errors import ModelError
from oddeven.runtime.verify.golden import check_golden, golden_path, load_golden, save_golden

ROOT = Path(__file__).parents[2]


def test_the_bundled_models_pass_on_every_engine_here(run_here):
    done = run_here("selftest", "--json")
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert {outcome["file"] for outcome in outcomes} == set(map(str, bundled().values()))
    # Integer arithmetic: LiteRT made these answers, and gives them to the last bit.
    assert {outcome["largest"] for outcome in outcomes if outcome["engine"] == "litert"} == {0.0}


def test_every_exported_file_passes(run_here, exported):
    done = run_here("selftest", exported, "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 8


def test_one_engine_checks_the_files_of_a_folder_that_it_reads(run_here, exported):
    done = run_here("selftest", exported, "--engine", "litert", "--json")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["engine"] for line in done.stdout.splitlines()} == {"litert"}
    assert "left out, since litert does not read them" in done.stderr


def test_every_file_that_cannot_be_loaded_is_explained(run_here, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "cnn")
    for name in ("cnn.int8.tflite", "cnn.float32.tflite"):
        (folder / name).write_bytes(b"")
    done = run_here("selftest", folder)
    assert done.returncode == 4
    assert all(name in done.stderr for name in ("cnn.int8.tflite", "cnn.float32.tflite"))


def test_the_golden_pictures_are_of_both_labels_and_some_are_hard(raw):
    golden = load_golden(golden_path(bundled()["mlp"]))
    assert 12 <= len(golden.images) <= 16
    p = golden.answers["mlp.int8.tflite"]
    assert 0 < (p > 0.5).sum() < len(p)
    assert np.abs(p - 0.5).min() < 0.2
    known = {image.tobytes() for image in raw["x_test"]}
    assert all(image.tobytes() in known for image in golden.images)


@pytest.fixture
def copy(tmp_path):
    for path in MODELS.glob("mlp.*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_another_answer_fails(run_here, copy):
    path = copy / "mlp.selftest.npz"
    golden = load_golden(path)
    golden.answers["mlp.int8.tflite"][3] += np.float32(2 / 255)  # one step is allowed
    save_golden(golden, path)
    done = run_here("selftest", copy)
    assert (done.returncode, "WRONG" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("images", lambda a: a[None]),
        ("images", lambda a: a.astype(np.float32)),
        ("images", lambda a: a[:, 1:]),
        ("mlp.int8.tflite", lambda a: a[:2]),
        ("mlp.int8.tflite", lambda a: a.astype(str)),
        ("mlp.int8.tflite", lambda a: a * np.float32(np.nan)),
    ],
)
def test_impossible_golden_answers_are_one_sentence(run_here, copy, name, change):
    path = copy / "mlp.selftest.npz"
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    np.savez_compressed(path, **{**arrays, name: change(arrays[name])})
    done = run_here("selftest", copy / "mlp.int8.tflite")
    assert done.returncode == 4, done.stderr
    assert "mlp.selftest.npz holds" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_archive_of_golden_answers_is_one_sentence(copy):
    model = copy / "mlp.int8.tflite"
    path = golden_path(model)
    content = path.read_bytes()
    for seed in range(200):
        random = np.random.default_rng(seed)
        harmed = bytearray(content)
        for place in random.integers(0, len(content), 5):
            harmed[place] = random.integers(256)
        path.write_bytes(harmed)
        with suppress(ModelError):
            load_golden(path)


def test_missing_and_damaged_golden_answers_are_one_sentence(copy):
    model = copy / "mlp.int8.tflite"
    path = golden_path(model)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelError, match="holds no golden predictions"):
        check_golden(model, "auto")
    path.unlink()
    with pytest.raises(ModelError, match=r"^There is no .*mlp\.selftest\.npz: copy it together with the model"):
        check_golden(model, "auto")


@pytest.mark.parametrize(
    "arguments", [["selftest"], ["bench", "--seconds", "0.1"], ["predict", "a.png", "--model"]], ids=lambda a: a[0]
)
def test_a_folder_without_a_file_that_it_lists_says_so(run, tmp_path, arguments):
    folder = shutil.copytree(ROOT / "tests" / "data" / "before_rooms", tmp_path / "cnn")
    (folder / "cnn.int8.tflite").unlink()  # the float32 files are not there either
    done = run(*arguments, folder)
    assert done.returncode == 4, done.stderr
    assert re.search(r"There is no .*cnn\.\w+\.tflite, which its manifest lists; copy it too", done.stderr)
