"""`oddeven predict`: every way to name pictures, every form of answer, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path, raw):
    (tmp_path / "below").mkdir()
    for number in range(4):
        Image.fromarray(raw["x_test"][number]).save(tmp_path / "below" / f"{number}.png")
    return tmp_path


def labels(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["label"] for line in done.stdout.splitlines()]


def test_globs_lists_and_stdin(run, folder):
    paths = [str(folder / "below" / f"{number}.png") for number in range(4)]
    assert labels(run("predict", str(folder / "**" / "[01].png"), "--json")) == ["odd", "even"]
    assert labels(run("predict", str(folder / "*"), "--json")) == ["odd", "even", "odd", "even"]
    assert labels(run("predict", str(folder / "**"), "--json")) == ["odd", "even", "odd", "even"]
    (folder / "list.txt").write_text("\n".join(paths) + "\n\n")
    assert labels(run("predict", "--files-from", folder / "list.txt", "--json")) == ["odd", "even", "odd", "even"]
    (folder / "list.txt").write_text("\r\n".join(paths), encoding="utf-8-sig")  # as Windows writes it
    assert labels(run("predict", "--files-from", folder / "list.txt", "--json")) == ["odd", "even", "odd", "even"]
    assert labels(run("predict", "--files-from", "-", "--json", input="\n".join(paths[:2]))) == ["odd", "even"]
    with open(paths[0], "rb") as picture:
        done = subprocess.run(
            [sys.executable, "-m", "oddeven.runtime", "predict", "-", "--json"],
            stdin=picture, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert json.loads(done.stdout)["file"] == "stdin"


def test_csv_has_a_column_a_label(run, folder):
    rows = list(csv.DictReader(io.StringIO(run("predict", folder, "--csv").stdout)))
    assert [row["label"] for row in rows] == ["odd", "even", "odd", "even"]
    assert all(abs(float(row["even"]) + float(row["odd"]) - 1) < 2e-6 for row in rows)  # two roundings of 5e-7


def test_a_blank_picture_is_uncertain_and_says_why(run, folder):
    Image.new("L", (60, 40), 200).save(folder / "blank.png")
    answer = json.loads(run("predict", folder / "blank.png", "--json").stdout)
    assert (answer["label"], answer["scores"]) == ("uncertain", {})
    assert answer["reason"]
    assert "uncertain" in run("predict", folder / "below", "--min-confidence", "1").stdout


def test_what_the_model_sees_is_shown_and_saved(run, folder, raw):
    longest = (folder / "below" / "0.png").rename(folder / f"{'0' * 251}.png")
    done = run("predict", longest, "--show", "--save-input", folder / "seen", "--json")
    assert labels(done) == ["odd"]
    assert len(done.stderr.splitlines()) > 14
    (saved,) = (folder / "seen").iterdir()
    np.testing.assert_array_equal(np.asarray(Image.open(saved)), raw["x_test"][0])


@pytest.mark.parametrize("terminal", ["stdout", "stderr"])
def test_tones_are_drawn_only_where_stderr_is_a_terminal(folder, terminal):
    inside, outside = pty.openpty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, terminal: outside}
    command = [sys.executable, "-m", "oddeven.runtime", "predict", folder / "below" / "0.png", "--show"]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", "PYTHONIOENCODING": "utf8"}
    done = subprocess.run(command, **streams, check=True, env=environment)
    os.close(outside)
    drawn = done.stderr if terminal == "stdout" else os.read(inside, 1 << 16)
    os.close(inside)
    assert (b"\x1b[38;2;" in drawn, b"@@" in drawn) == (terminal == "stderr", terminal == "stdout")


def test_threshold_preprocess_and_inversion(run, folder):
    zero = folder / "below" / "0.png"
    assert labels(run("predict", zero, "--json", "--preprocess", "raw")) == ["odd"]
    assert run("predict", zero, "--preprocess", "nonsense").returncode == 2
    assert run("predict", zero, "--threshold", "2").returncode == 2
    dark = folder / "dark.png"
    Image.fromarray(255 - np.asarray(Image.open(zero))).save(dark)
    assert (
        labels(run("predict", dark, "--json")) == labels(run("predict", dark, "--json", "--invert", "yes")) == ["odd"]
    )


def test_an_artifact_folder_is_a_model(run, folder, exported):
    assert labels(run("predict", folder, "--model", exported, "--json")) == ["odd", "even", "odd", "even"]
    done = run("predict", folder, "--model", folder)
    assert (done.returncode, "holds no manifest.json" in done.stderr) == (4, True)


def test_a_name_that_looks_like_an_option(run, folder):
    (folder / "below" / "0.png").rename(folder / "--show")
    assert run("predict", "--json", "--", "--show", cwd=folder).returncode == 0


def test_a_reader_that_has_left_ends_it_as_a_closed_pipe_would(folder):
    command = [sys.executable, "-m", "oddeven.runtime", "predict", folder, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (128 + signal.SIGPIPE, b"")


def test_a_reader_that_leaves_early_is_no_error(folder):
    command = f"{sys.executable} -m oddeven.runtime predict {folder} {folder} --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
