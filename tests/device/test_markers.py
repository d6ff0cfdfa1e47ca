"""What `pip install` of the wheel brings on each platform: one TFLite engine or none, no TensorFlow, not too much."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from oddeven.runtime.engines import registry
from oddeven.runtime.errors import MissingPackageError

ROOT = Path(__file__).parents[2]
FOREIGN_PIP = ROOT / "tests" / "device" / "foreign_pip.py"
DEBIANS = ("numpy", "pillow")  # PyPI has no wheels of them for 32-bit ARM; piwheels and apt have
LIMIT_BYTES = 200e6
Version = namedtuple("Version", "major minor")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "wheel",
        "--no-deps",
        "--wheel-dir",
    ]
    subprocess.run([*command, folder, ROOT], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def required(wheel, machine, python):
    """The wheel's own requirements there, without extras."""
    from pip._vendor.packaging.requirements import Requirement

    spec = importlib.util.spec_from_file_location("foreign_pip", FOREIGN_PIP)
    foreign_pip = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(foreign_pip)
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    environment = {**foreign_pip.markers(machine, python), "extra": ""}
    every = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    return [f"{r.name}{r.specifier}" for r in every if not r.marker or r.marker.evaluate(environment)]


@pytest.mark.parametrize(
    ("machine", "python", "engine"),
    [
        ("aarch64", "3.11", ["ai_edge_litert"]),
        ("aarch64", "3.13", ["ai_edge_litert"]),
        ("armv7l", "3.11", ["tflite_runtime"]),
        ("armv7l", "3.13", []),
    ],
)
def test_an_install_brings_the_one_engine_that_exists(wheel, tmp_path, machine, python, engine):
    wanted = [str(wheel), "--constraint", str(ROOT / "constraints.txt")]
    if machine == "armv7l":
        rest = [line for line in required(wheel, machine, python) if not line.startswith(DEBIANS)]
        wanted = ["--no-deps", str(wheel), *rest]
    command = [sys.executable, FOREIGN_PIP, machine, python, "download", "--quiet", "--dest", tmp_path, *wanted]
    subprocess.run(command, check=True, timeout=300)
    brought = {path.name.split("-")[0].lower(): path for path in tmp_path.glob("*.whl")}
    assert [name for name in brought if name in ("ai_edge_litert", "tflite_runtime")] == engine
    assert not [name for name in brought if name.startswith(("tensorflow", "keras", "onnx"))]
    unpacked = sum(entry.file_size for path in brought.values() for entry in zipfile.ZipFile(path).infolist())
    assert unpacked < LIMIT_BYTES


@pytest.mark.parametrize("machine", ["armv6l", "armv7l", "armv8l"])
def test_no_32_bit_arm_asks_for_litert(wheel, machine):
    """A 64-bit kernel calls itself armv8l to a 32-bit Python under `linux32`."""
    assert not [line for line in required(wheel, machine, "3.11") if line.startswith("ai-edge-litert")]


@pytest.mark.parametrize(
    ("python", "suffix", "words"),
    [
        (Version(3, 11), ".tflite", "pip install tflite-runtime"),
        (Version(3, 13), ".tflite", "none exists for 32 bits and Python 3.12 or newer"),
        (Version(3, 13), ".onnx", "apt install python3-onnxruntime"),
    ],
)
def test_a_32_bit_python_names_what_it_can_have(monkeypatch, python, suffix, words):
    monkeypatch.setattr(registry, "installed", lambda name: False)
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    monkeypatch.setattr(sys, "version_info", python)
    with pytest.raises(MissingPackageError, match=words):
        registry.select(Path(f"model{suffix}"))
