"""Damaged models: an answer or a ModelError, whatever bytes are changed; a crash of an engine is none of a command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.engines.registry import open_engine
from oddeven.runtime.errors import ModelError
from oddeven.runtime.schema import to_json

COUNT = os.environ.get("ODDEVEN_DAMAGED", "300")  # files of each kind
SCRIPT = Path(__file__).with_name("damage.py")
MLP = bundled()["mlp"]


def flatbuffer():
    content = MLP.read_bytes()
    return content[: content.index(b"PK\3\4")]


def with_entry(path, content, name, text, **options):
    """`content` as a `.tflite` file with one more entry in the archive at its end."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", **options) as archive:
        archive.writestr(name, text)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_changed_bytes_end_in_an_answer_or_in_a_model_error(suffix, exported, tmp_path, run, digit):
    done = subprocess.run(
        [sys.executable, SCRIPT, exported / f"cnn.int8{suffix}", COUNT, tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert "foreign" not in found, next(tmp_path.glob("*.txt")).read_text()
    assert found["refused"] > 0
    for path in sorted(tmp_path.glob("*.tflite"))[:5]:  # they crashed their process
        with_entry(path, path.read_bytes(), "metadata.json", to_json(read_spec(MLP)))
        done = run("predict", digit, "--model", path)
        assert (done.returncode, "crashes its engine" in done.stderr) == (4, True), done.stderr


def test_a_file_that_crashes_its_engine_is_refused_by_every_command(tmp_path, run, digit):
    """The crash is put into the engine here, as an engine of another version may not have any to offer."""
    model = with_entry(tmp_path / "m.tflite", flatbuffer(), "metadata.json", to_json(read_spec(MLP)))
    code = (
        "import sys, os\n"
        "from oddeven.runtime.engines import tflite\n"
        "parent = os.getpid()\n"
        "def crash(self, batch):\n"
        "    os.kill(os.getpid(), 11)\n"
        "tflite.TFLiteEngine.invoke = crash\n"
        "from oddeven.runtime.cli.main import main\n"
        "main()\n"
    )
    for command in (["predict", str(digit), "--model"], ["info"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command, model], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "crashes its engine (SIGSEGV)" in done.stderr) == (4, True), done.stderr
    sealed = subprocess.run([sys.executable, "-c", code, "info", MLP], capture_output=True, text=True, check=False)
    assert sealed.returncode == 0, sealed.stderr  # is not tried, so pays nothing
    assert run("predict", digit, "--model", model).returncode == 0


@pytest.mark.parametrize("change", ["encrypted", "method", "lzma", "huge"])
def test_an_archive_that_cannot_or_must_not_be_unpacked_is_refused(change, tmp_path):
    text, method = to_json(read_spec(MLP)), zipfile.ZIP_LZMA if change == "lzma" else zipfile.ZIP_DEFLATED
    text = " " * 200_000_000 if change == "huge" else text
    path = with_entry(tmp_path / "m.tflite", flatbuffer(), "metadata.json", text, compression=method)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")  # of the central directory: version, version, flags, method
    if change == "encrypted":
        content[entry + 8] |= 1
    if change == "method":
        content[entry + 10] = 97
    path.write_bytes(content)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}))\n"
    done = subprocess.run([sys.executable, "-c", limited + READ, path], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "is damaged", done.stderr


MEMORY = 250_000_000
READ = """
import sys
from pathlib import Path
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError
try:
    read_spec(Path(sys.argv[1]))
except ModelError as error:
    print("is damaged" if "is damaged" in str(error) else error)
"""


def test_a_spec_without_an_end_is_one_sentence(tmp_path):
    path = with_entry(tmp_path / "m.tflite", flatbuffer(), "metadata.json", "[" * 100_000)
    with pytest.raises(ModelError, match="not valid JSON"):
        open_engine(path)


def test_a_file_that_was_cut_off_is_refused_whatever_the_engine(tmp_path):
    """tflite-runtime looks at nothing before it follows the offsets in a file."""
    content, path = MLP.read_bytes(), tmp_path / "m.tflite"
    for size in [0, 7, 8, 100, *range(1000, len(content), 50_021), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(ModelError):
            Classifier.load(path)


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 28, 28, 3)])
def test_what_an_engine_refuses_to_run_is_a_model_error(shape, exported):
    import numpy as np

    for name in ("cnn.int8.tflite", "cnn.int8.onnx"):
        engine = open_engine(exported / name)
        with pytest.raises(ModelError, match=r"cnn\.int8.*cannot run it"):
            engine.run(np.zeros(shape, engine.input.dtype))
        engine.close()
