"""Which commands `oddeven pipeline` runs on which models."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from oddeven.runtime.cli import pipeline


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """A function that gives the commands of a pipeline, up to the gate, where training makes `models`."""
    monkeypatch.chdir(tmp_path)

    def run(models, *arguments):
        ran = []

        def note(*command):
            ran.append(command)
            if command[0] == "verify":
                raise click.Abort
            return models

        monkeypatch.setattr(pipeline, "_run", note)
        with suppress(click.Abort):
            pipeline.command.main(list(arguments), standalone_mode=False)
        return ran

    return run


def test_a_model_of_an_earlier_run_is_left_alone(commands, tmp_path):
    earlier, now = (tmp_path / "out" / "runs" / name / f"{name}.keras" for name in ("cnn", "mlp"))
    for path in (earlier, now):
        path.parent.mkdir(parents=True)
        path.touch()
    assert commands([now], "mlp", "--out", "out") == [
        ("train", "mlp", "--out", "out/runs"),
        ("export", str(now), "--out", "out/artifacts"),
        ("verify", "out/artifacts/mlp"),
    ]


def test_a_folder_whose_name_begins_with_a_dash_is_no_option(commands, tmp_path):
    _, export, verify = commands([tmp_path / "mlp.keras"], "mlp", "--out", "-x")
    assert export[-1] == str(tmp_path / "-x" / "artifacts")
    assert verify == ("verify", str(tmp_path / "-x" / "artifacts" / "mlp"))


def test_the_samples_are_not_for_a_file_that_predict_refuses():
    files = [
        SimpleNamespace(file=file, size_bytes=size, parity=SimpleNamespace(reference_accuracy=None))
        for file, size in (("a.float32.tflite", 3), ("a.float16.tflite", 2), ("a.int8.zip", 1))
    ]
    assert pipeline._smallest({Path("a"): SimpleNamespace(files=files)}) == Path("a/a.float16.tflite")


def test_a_dry_run_ends_after_training(commands):
    assert len(commands([], "mlp", "--out", "out")) == 1
