"""What several test files share: the real dataset, the shipped models, and one real export."""

from __future__ import annotations

import fcntl
import importlib.util
import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
MNIST = ROOT / "train" / "data" / "mnist.npz"
SHIPPED = ROOT / "train" / "models"


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """A shell starts what runs in the background with Ctrl-C ignored, and the commands under test would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def raw():
    """MNIST as NumPy reads it, without any code of ours."""
    with np.load(MNIST) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture
def digit(tmp_path, raw):
    """The first test digit, odd, as a PNG file."""
    path = tmp_path / "digit.png"
    Image.fromarray(raw["x_test"][0]).save(path)
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The artifact folder of the shipped cnn, made by the real command, or before where there is no TensorFlow."""
    if "ODDEVEN_ARTIFACTS" in os.environ:
        return Path(os.environ["ODDEVEN_ARTIFACTS"])
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exported"
    out.mkdir(exist_ok=True)
    with (out / ".lock").open("w") as lock:  # one for all workers
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "cnn" / "manifest.json").exists():
            done = oddeven("export", SHIPPED / "cnn.keras", "--out", out)
            assert done.returncode == 0, done.stderr
    return out / "cnn"


def benchmark(name):
    """The module `benchmarks/NAME.py`."""
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(f"benchmarks.{name}", folder / f"{name}.py")
    script = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.append(str(folder))  # no longer than it takes: its `serve` would hide that of the tests
    try:
        spec.loader.exec_module(script)
    finally:
        sys.path.remove(str(folder))
    return script


def oddeven(*arguments, **options):
    """Run the real command line in a process of its own."""
    command = [sys.executable, "-m", "oddeven.runtime", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **{"timeout": 900, **options})


def oddeven_here(*arguments):
    """Run the real command line in this process, which saves another one from importing what it needs."""
    from oddeven.runtime.cli.main import run

    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        code = run(list(map(str, arguments)))
    for stream in streams:
        stream.seek(0)
    return subprocess.CompletedProcess(arguments, code, *(stream.read() for stream in streams))


@pytest.fixture
def run():
    """The real command line, in a process of its own."""
    return oddeven


@pytest.fixture
def run_here():
    """The real command line, in this process: for what does not depend on it."""
    return oddeven_here


@pytest.fixture
def video(tmp_path, raw):
    """A function that writes test digits, each for so many frames, as a lossless video; gives its path."""
    cv2 = pytest.importorskip("cv2")

    def write(digits, each=1, scale=4, codec="png ", name="digits.avi"):
        path = tmp_path / name
        side = 28 * scale
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25.0, (side, side))
        assert writer.isOpened()
        for number in digits:
            frame = np.kron(raw["x_test"][number], np.ones((scale, scale), np.uint8))
            for _ in range(each):
                writer.write(np.repeat(frame[..., None], 3, axis=-1))
        writer.release()
        return path

    return write
