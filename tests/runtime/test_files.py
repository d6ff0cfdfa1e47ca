"""Whole files or none."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from oddeven.runtime.errors import OutputError
from oddeven.runtime.files import alone_in, replacing, writable_folder, write


def fail_halfway(path):
    with replacing(path) as partial:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.tflite"
    write(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        fail_halfway(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_without_a_name_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="Cannot write"):
        write(Path(""), b"new")  # such as --out ""
    assert list(tmp_path.iterdir()) == []


def run(code, *arguments):
    head = "import os, pathlib, sys; from oddeven.runtime.files import alone_in, replacing, write\n"
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_kill_leaves_the_old_file_and_a_later_run_clears_up(tmp_path):
    path = tmp_path / "model.tflite"
    write(path, b"old")
    killed = (
        "with replacing(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    assert run(killed, path).returncode == -9
    assert path.read_bytes() == b"old"
    (left,) = set(tmp_path.iterdir()) - {path}
    run("write(pathlib.Path(sys.argv[1]), 'new')", path)
    assert path.read_bytes() == b"new"
    assert left.exists()  # it might be another run's, at work
    os.utime(left, (0, 0))
    run("write(pathlib.Path(sys.argv[1]), 'newer')", path)
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "model.tflite"
    with replacing(path) as one, replacing(path) as other:
        assert one.is_file()
        assert other.is_file()
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_at_a_name_that_could_be_foreseen_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".partial-model.tflite").symlink_to(tmp_path / "precious")
    (tmp_path / ".partial-probe").symlink_to(tmp_path / "precious")
    write(writable_folder(tmp_path) / "model.tflite", b"new")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path):
    pipe, stdout = tmp_path / "pipe", tmp_path / "stdout"
    os.mkfifo(pipe)
    with (tmp_path / "redirected").open("w") as redirected:
        stdout.symlink_to(f"/proc/self/fd/{redirected.fileno()}")
        for path in (pipe, stdout):
            with pytest.raises(OutputError, match=f"{path.name}: it is a device or pipe"):
                write(path, b"new")
    assert (pipe.is_fifo(), stdout.is_symlink()) == (True, True)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_has_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "model.tflite", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.tflite").stat().st_mode) == 0o640


WRITERS = """
import resource
import keras, numpy as np
from PIL import Image
from oddeven.runtime.errors import OutputError
from oddeven.runtime.spec import Provenance
from oddeven.train import plots
from oddeven.train.checkpoint import save_checkpoint

model = keras.Sequential([keras.Input((99,)), keras.layers.Dense(99)])
noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
history = {key: [0.5] for key in ("loss", "val_loss", "accuracy", "val_accuracy", "seconds")}

def save(name):
    with replacing(path) as partial:
        Image.fromarray(noise).save(partial) if name == "a.png" else model.save_weights(partial)

def savez(name):
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, noise)

writers = {
    "a.json": lambda name: write(path, "x" * 4000), "a.npz": savez, "a.png": save, "a.weights.h5": save,
    "a.keras": lambda name: save_checkpoint(path, model, history, Provenance("", "", "", 1, 0, {})),
    "curves.png": lambda name: plots.curves({"x": history}, path),
}
# A process that may write no larger file meets what a full disk does to one.
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for name, writer in writers.items():
    path = pathlib.Path(sys.argv[1]) / name
    try:
        writer(name)
    except OutputError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_from_every_writer(tmp_path):
    done = run(WRITERS, tmp_path)
    names = ("a.json", "a.npz", "a.png", "a.weights.h5", "a.keras", "curves.png")
    said = [line for line in done.stdout.splitlines() if line.startswith("Cannot write")]
    assert [line.split(": ")[0] for line in said] == [f"Cannot write {tmp_path / name}" for name in names], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_unicode_is_escaped_as_json_does(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write(tmp_path / "a.json", json.dumps({"path": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": name}


def test_a_long_name_can_be_written(tmp_path):
    name = "\N{GREEK SMALL LETTER OMEGA}" * 120 + ".png"
    write(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_error_of_reading_something_else_is_not_one_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError, match="not-there"), replacing(tmp_path / "copy") as partial:
        partial.write_bytes((tmp_path / "not-there").read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path):
    with alone_in(tmp_path):
        done = run("with alone_in(pathlib.Path(sys.argv[1])): print('in')", tmp_path)
        assert "UsageError: Another oddeven writes to" in done.stderr
    assert run("with alone_in(pathlib.Path(sys.argv[1])): print('in')", tmp_path).stdout == "in\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        writable_folder(tmp_path / "taken")
    with pytest.raises(OutputError, match="taken"):
        write(tmp_path / "taken" / "below.json", "{}")
