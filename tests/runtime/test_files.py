"""Whole files or none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oddeven.runtime.errors import OutputError
from oddeven.runtime.files import replacing, writable_folder, write


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


def test_a_kill_leaves_the_old_file_and_the_next_write_clears_up(tmp_path):
    path = tmp_path / "model.tflite"
    write(path, b"old")
    code = (
        "import os, pathlib, sys; from oddeven.runtime.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_bytes() == b"old"
    write(path, "new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path):
    path = tmp_path / "model.tflite"
    # /dev/full fails every write as a full disk does.
    (tmp_path / ".partial-model.tflite").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"Cannot write .*model\.tflite: No space left on device"):
        write(path, b"x" * 100)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        writable_folder(tmp_path / "taken")
    with pytest.raises(OutputError, match="taken"):
        write(tmp_path / "taken" / "below.json", "{}")
