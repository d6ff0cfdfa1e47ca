"""The wheel in environments of its own: what a device installs, with nothing of TensorFlow near it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def pip(python, *arguments):
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=300)


def environment(folder, *requirements):
    """A fresh virtual environment with `requirements`; gives its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip(python, "install", *requirements)
    return python


def test_the_wheel_holds_three_parts_and_three_models_and_no_dataset(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"oddeven"}
    assert {name.split("/")[1] for name in names} == {"train", "export", "runtime"}
    assert len([name for name in names if name.endswith(".tflite")]) == 3
    assert len([name for name in names if name.endswith(".selftest.npz")]) == 3
    assert not [name for name in names if name.endswith(("mnist.npz", ".keras")) or name == "oddeven/__init__.py"]
    assert "oddeven/runtime/py.typed" in names


@pytest.mark.slow
def test_a_plain_install_answers_without_tensorflow(wheel, tmp_path, digit):
    python = environment(tmp_path / "plain", wheel)
    for name in ("tensorflow", "keras", "onnxruntime", "matplotlib"):
        assert subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 1
    oddeven = python.with_name("oddeven")
    done = subprocess.run([oddeven, "predict", digit, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["label"] == "odd"
    done = subprocess.run([oddeven, "train", "mlp"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert "pip install 'oddeven[train]'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "engines"),
    [
        ("onnx", "litert onnxruntime"),
        pytest.param(
            "tflite",
            "litert tflite-runtime",
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for this Python"),
        ),
    ],
)
def test_the_engines_keep_their_contract_where_there_is_no_tensorflow(wheel, tmp_path, exported, extra, engines):
    python = environment(tmp_path / extra, f"{wheel}[{extra}]", "pytest")
    assert subprocess.run([python, "-c", "import tensorflow"], capture_output=True, check=False).returncode == 1
    tests = [ROOT / "tests" / "runtime" / f"test_{name}.py" for name in ("engines", "classifier", "selftest")]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", *tests]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**clean, "ODDEVEN_ARTIFACTS": str(exported)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    code = "from oddeven.runtime.engines.registry import ENGINES, installed as here; print(*filter(here, ENGINES))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert found.stdout.removesuffix("\n").removesuffix(" c") == engines  # C needs a compiler, no package
