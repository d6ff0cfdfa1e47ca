"""The command line as a person or a script meets it: answers, sentences and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from conftest import SHIPPED
from PIL import Image

from oddeven.export.c.library import c_library
from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.engines.metadata import read_spec


@pytest.fixture
def pictures(tmp_path, raw):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(raw["x_test"][number]).save(folder / "below" / f"{number}.png")
    return folder


def refused(done, code, says):
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_predict_answers_for_files_and_folders(run, pictures):
    done = run("predict", pictures, pictures / "below" / "0.png", "--json")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["label"] for answer in answers] == ["odd", "even", "odd", "even", "odd"]
    assert done.stderr == ""


def test_predict_prints_a_table(run, pictures):
    lines = run("predict", pictures, "--model", "mlp").stdout.splitlines()
    assert lines[0].split() == ["file", "prediction", "probability", "familiarity"]
    assert len(lines) == 6


def test_one_bad_picture_does_not_stop_the_others(run, pictures):
    (pictures / "bad.png").write_text("not a picture")
    done = run("predict", pictures)
    refused(done, 5, "bad.png cannot be read as an image: not an image")
    assert len(done.stdout.splitlines()) == 6


def test_bad_input_is_one_sentence_and_a_code(run, tmp_path, pictures):
    (tmp_path / "empty").mkdir()
    refused(run("predict", tmp_path / "empty"), 5, "holds no image")
    refused(run("predict", tmp_path / "absent.png"), 5, "There is no file")
    refused(run("predict", ""), 5, "The path is empty")
    refused(run("predict"), 2, "Missing argument")
    refused(run("predict", pictures, "--model", "resnet"), 2, "bundled are cnn, deep_cnn, mlp")
    refused(run("predict", pictures, "--engine", "tensorrt"), 2, "known are litert")
    refused(run("predict", pictures, "--model", pictures / "below" / "0.png"), 4, "no engine reads .png")
    refused(run("nonsense"), 2, "No such command")
    refused(run("verify", tmp_path / "empty"), 4, "holds no manifest.json")


def test_info_names_engines_models_and_what_a_file_is(run, tmp_path):
    here = json.loads(run("info", "--json").stdout)
    assert set(here["models"]) == {"mlp", "cnn", "deep_cnn"}
    assert here["engines"]["litert"] == "installed"
    model = json.loads(run("info", "mlp", "--json").stdout)
    assert (model["input"]["dtype"], model["spec"]["labels"]) == ("uint8", ["even", "odd"])
    assert "calibration" in run("info", "mlp").stdout
    trained = json.loads(run("info", SHIPPED / "mlp.keras", "--json").stdout)
    assert (trained["engines"], "oddeven export" in trained["note"]) == ({}, True)
    assert trained["spec"]["provenance"]["dataset"] == "mnist"
    (tmp_path / "cut.keras").write_bytes((SHIPPED / "mlp.keras").read_bytes()[:1000])
    refused(run("info", tmp_path / "cut.keras"), 4, "cut.keras is damaged")
    (tmp_path / "mlp.int8.zip").write_bytes(c_library(bundled()["mlp"].read_bytes(), read_spec(bundled()["mlp"])))
    library = json.loads(run("info", tmp_path / "mlp.int8.zip", "--json").stdout)
    assert (library["spec"]["labels"], "compiles and runs" in library["engines"]["c"]) == (["even", "odd"], True)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("model/mlp.int8.tflite", b"")
    refused(run("info", tmp_path / "other.zip"), 4, "damaged, or oddeven export --format c did not write it")


def test_an_output_folder_that_cannot_be_written_is_found_before_the_work(run, tmp_path):
    (tmp_path / "taken").write_text("")
    refused(run("train", "mlp", "--quick", "--out", tmp_path / "taken"), 6, "Cannot write to the folder")
    refused(run("pipeline", "--quick", "--out", tmp_path / "taken"), 6, "Cannot write to the folder")


def test_contradictory_options_are_refused(run):
    refused(run("pipeline", "--quick", "--pretrained"), 2, "give one of them")


@pytest.mark.parametrize(
    ("arguments", "of"),
    [
        (("train", "--data", ""), "--data"),
        (("train", "--unknown="), "--unknown"),
        (("pipeline", "--policy", ""), "--policy"),
        (("verify", "--report", "a.html", "--report", "", "artifacts"), "--report"),
        (("predict", "--model", "", "a.png"), "--model"),
        (("verify", "artifacts", ""), "ARTIFACTS|MODEL..."),
    ],
)
def test_an_empty_value_is_not_the_working_folder(run, tmp_path, arguments, of):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, f"Invalid value for '{of}': it is empty." in done.stderr) == (2, True), done.stderr
    assert run("export", "--author", "", "a.keras", cwd=tmp_path).returncode == 4  # which is empty by default
    (tmp_path / "pyproject.toml").write_text("[tool.oddeven.watch]\nout = ''\n")
    assert "Invalid value for '--out': it is empty." in run("watch", tmp_path, cwd=tmp_path).stderr


def test_ctrl_c_is_one_word_and_exit_code_130(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "oddeven.runtime", "train", "mlp", "--quick", "--out", str(tmp_path)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "importing" not in process.stderr.readline():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # Where the interrupt comes while a package runs Python code from C, Python ends itself by the signal, whatever exit
    # code it is given. To a shell both are 130.
    assert process.returncode in {130, -signal.SIGINT}
    assert errors.splitlines()[-1] == "oddeven: stopped."
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".partial")]


def test_ctrl_c_that_a_package_turns_into_an_import_error_is_no_missing_package(tmp_path):
    """As NumPy does, where its initialization in C calls an interrupt an ImportError."""
    (tmp_path / "tensorflow.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(10)\n"
        "except KeyboardInterrupt:\n    raise ImportError('failed to import') from None\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "oddeven.runtime", "train", "mlp", "--quick", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "oddeven: stopped."


def test_a_missing_extra_names_the_pip_line(tmp_path):
    """TensorFlow hidden by an empty package of that name that fails to import."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('hidden by the test')")
    for command, line in (
        (["train", "mlp"], "pip install 'oddeven[train]'"),
        (["export", str(SHIPPED / "cnn.keras")], "pip install 'oddeven[export]'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "oddeven.runtime", *command, "--out", str(tmp_path / "out")],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        refused(done, 3, line)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("verify", 2, "cannot be used: File name too long"),
        ("export", 2, "cannot be used: File name too long"),
        ("bench", 2, "neither a file nor a bundled model"),
        ("selftest", 2, "neither a file nor a bundled model"),
        ("info", 2, "neither a file nor a bundled model"),
        ("bundle", 2, "neither a file nor a bundled model"),
        ("predict", 5, "xxx"),
    ],
)
def test_a_path_that_the_system_refuses_is_one_sentence(run, command, code, says):
    done = run(command, "x" * 300)
    refused(done, code, says)
    assert done.stderr.count("oddeven: ") == 1


@pytest.mark.parametrize("arguments", [["info"], ["predict"], ["verify", "--plan"]])
def test_a_full_disk_under_stdout_is_one_sentence(pictures, arguments):
    command = [sys.executable, "-m", "oddeven.runtime", *arguments, *([pictures] if "predict" in arguments else [])]
    with open("/dev/full", "w") as full:  # fails every write as a full disk does
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert done.stderr == "oddeven: The result cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("ai_edge_litert", ["selftest", "--engine", "litert"]),
        ("onnxruntime", ["predict", "x.png", "--model", "x.onnx"]),
        ("tensorflow", ["train", "mlp", "--quick"]),
        ("imagehash", ["train", "mlp", "--data", "pictures"]),
        ("cv2", ["camera", "--source", "0"]),
        ("gpiozero", ["watch", ".", "--out", "x.csv", "--on-label", "odd=17"]),
    ],
)
def test_a_broken_package_is_not_called_a_missing_one(run, tmp_path, package, arguments):
    fault = f"raise ImportError('libz.so.9: cannot open shared object file', name='{package}._core')"
    (tmp_path / "x.onnx").write_bytes(b"")
    for label in ("a", "b"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(30):
            level = np.random.default_rng([number, label == "a"]).integers(0, 255, (28, 28), np.uint8)
            Image.fromarray(level).save(tmp_path / "pictures" / label / f"{number}.png")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(fault)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(*arguments, cwd=tmp_path, env=environment)
    assert done.returncode == 3, done.stderr
    assert "libz.so.9: cannot open shared object file" in done.stderr
    assert "which is installed and cannot be imported" in done.stderr
    assert "Traceback" not in done.stderr
