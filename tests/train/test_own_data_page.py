"""docs/your-own-data.md, command by command, with patches of two real photographs as good and defective parts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from train.photographs import patches, write

from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.artifacts.reference import REFERENCE, load_reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import read_spec
from oddeven.train.data.registry import training_dataset

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "your-own-data.md").read_text()


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The folder after all commands of the page, and what each printed."""
    folder = tmp_path_factory.mktemp("walk")
    write(folder / "parts", (90, 90), names=("good", "defective"), suffix="jpg")
    Image.fromarray(patches()["flower"][95]).save(folder / "new.jpg")
    (folder / "parity.toml").write_text(*blocks("toml"))
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    printed = {}
    for command in "".join(blocks("sh")).splitlines():
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        printed[command] = done.stdout
        if "--dry-run" in command:
            assert not (folder / "runs").exists()
    return folder, printed


def test_a_dry_run_says_what_would_be_done(walk):
    said = next(text for command, text in walk[1].items() if "--dry-run" in command)
    assert "180 images to decode" in said
    assert re.search(r"train +124 +62 +62", said)
    assert re.search(r"cnn +fast \(augment photo, batch 16, balanced\)", said)


def test_the_model_learns_and_its_spec_says_how(walk):
    folder, _ = walk
    spec = read_spec(folder / "runs" / "cnn" / "cnn.keras")
    assert (spec.labels, spec.input.shape, spec.provenance.dataset) == (("defective", "good"), (32, 32, 3), "parts")
    assert spec.provenance.recipe == "fast (augment photo, batch 16, balanced)"
    # Sky, walls and petals differ in colour; of 27 test patches, chance would get 20 right once in 160 times.
    manifest = load_manifest(folder / "artifacts" / "cnn")
    assert manifest.files[0].parity.reference.accuracy * 27 >= 20
    made = {path.name for path in (folder / "runs" / "cnn").iterdir()}
    assert {"curves.png", "evaluation.png", "mistakes.png", "predictions.png", "dataset.json"} <= made


def test_training_calibration_parity_and_device_see_equal_pixels(walk, monkeypatch):
    folder, _ = walk
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    model = folder / "runs" / "cnn" / "cnn.keras"
    data = training_dataset(model, read_spec(model))
    known = load_reference(folder / "artifacts" / "cnn" / REFERENCE)
    np.testing.assert_array_equal(known.images, data.test.images)
    with Classifier.load(folder / "artifacts" / "cnn" / "cnn.float32.tflite") as classifier:
        for split in (data.train, data.test):
            for number, image in zip(split.index, split.images, strict=True):
                np.testing.assert_array_equal(classifier.prepare(data.files[number]), image)


def test_the_report_shows_the_slices_and_the_answer_is_a_label(walk):
    folder, printed = walk
    assert '<th scope="row" class="left">defective</th>' in (folder / "artifacts" / "report.html").read_text()
    answer = printed["oddeven predict new.jpg --model artifacts/cnn/cnn.int8.tflite"].splitlines()[-1]
    assert re.fullmatch(r"new\.jpg +(good|defective|unknown) +[01]\.\d+ +[01]\.\d+.*", answer)


def test_export_without_the_images_says_how_to_name_them(walk, run, tmp_path):
    folder, _ = walk
    alone = tmp_path / "cnn.keras"
    alone.write_bytes((folder / "runs" / "cnn" / "cnn.keras").read_bytes())
    done = run("export", alone, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "say where its images are with --data PATH" in done.stderr
    write(tmp_path / "other", (30, 30), names=("good", "defective"))
    done = run("export", alone, "--data", tmp_path / "other", env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 5
    assert "was trained on other data than this 'parts'" in done.stderr
