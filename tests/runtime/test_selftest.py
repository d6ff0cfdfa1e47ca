"""Golden answers, and what happens to a device that does not give them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from oddeven.runtime import selftest
from oddeven.runtime.catalogue import MODELS, bundled
from oddeven.runtime.errors import ModelError


def test_the_bundled_models_pass_on_every_engine_here(run):
    done = run("selftest", "--json")
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert {outcome["file"] for outcome in outcomes} == set(map(str, bundled().values()))
    # Integer arithmetic: LiteRT made these answers, and gives them to the last bit.
    assert {outcome["largest"] for outcome in outcomes if outcome["engine"] == "litert"} == {0.0}


def test_every_exported_file_passes(run, exported):
    done = run("selftest", exported, "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 8


def test_the_golden_pictures_are_of_both_labels_and_some_are_hard(raw):
    golden = selftest.load(selftest.path_for(bundled()["mlp"]))
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


def test_another_answer_fails(run, copy):
    path = copy / "mlp.selftest.npz"
    golden = selftest.load(path)
    golden.answers["mlp.int8.tflite"][3] += np.float32(2 / 255)  # one step is allowed
    selftest.save(golden, path)
    done = run("selftest", copy)
    assert (done.returncode, "WRONG" in done.stdout) == (1, True)


def test_missing_and_damaged_golden_answers_are_one_sentence(copy):
    model = copy / "mlp.int8.tflite"
    path = selftest.path_for(model)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelError, match="holds no golden answers"):
        selftest.check(model, "auto")
    path.unlink()
    with pytest.raises(ModelError, match="holds no golden answers"):
        selftest.check(model, "auto")
