"""Who may import whom, and what must not be imported at all on a device."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
# `image` and `sources` are no plain data: training lists, decodes and prepares pictures by the very functions that the
# device will use.
PLAIN_DATA = {
    "attachment", "errors", "files", "image", "operating_point", "importing", "schema", "sources", "spec", "table",
    "tensor",
}  # fmt: skip
HEAVY = ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "rich", "scipy")


def modules_of(part):
    return sorted((ROOT / part / "oddeven" / part).rglob("*.py"))


def imports(path):
    """Every dotted name that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level_imports(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]


# What `packages_distributions` cannot say here: what is not installed with this Python, or has two distributions.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "gpiozero": "gpiozero", "tflite_runtime": "tflite-runtime", "tomli": "tomli",
    "ai_edge_litert": "ai-edge-litert", "PIL": "pillow", "keras": "keras", "google": "protobuf",
}  # fmt: skip
OF_DEBIAN = {"picamera2"}  # apt has it, PyPI has no wheel of it
EXTRAS = {"runtime": {"onnx", "tflite", "camera", "gpio"}, "train": {"train"}, "export": {"export", "train", "onnx"}}


def declared(part):
    """The distributions that this package, and the extras of one of its parts, ask pip for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS[part] for line in extras[extra])]
    return {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in lines}


@pytest.mark.parametrize("part", ["train", "export", "runtime"])
def test_whatever_a_part_imports_is_declared(part):
    installed = {name: found[0] for name, found in packages_distributions().items()}
    names = {name.split(".")[0] for path in modules_of(part) for name in imports(path)}
    foreign = names - set(sys.stdlib_module_names) - OF_DEBIAN - {"oddeven", "__future__"}
    assert len(foreign) > 3
    needed = {DISTRIBUTIONS.get(name, installed.get(name, name)).lower() for name in foreign}
    assert needed <= declared(part), needed - declared(part)


def test_runtime_imports_neither_export_nor_train():
    for path in modules_of("runtime"):
        assert not [n for n in imports(path) if n.startswith(("oddeven.export", "oddeven.train"))], path


def test_export_imports_from_train_only_data_loading():
    for path in modules_of("export"):
        names = [n for n in imports(path) if n.startswith("oddeven.train")]
        assert all(n.startswith("oddeven.train.dataset") for n in names), (path, names)


def test_train_imports_from_runtime_only_plain_data():
    for path in modules_of("train"):
        assert not [n for n in imports(path) if n.startswith("oddeven.export")], path
        used = {n.split(".")[2] for n in imports(path) if n.startswith("oddeven.runtime")}
        assert used <= PLAIN_DATA, (path, used - PLAIN_DATA)


@pytest.mark.parametrize("part", ["train", "export", "runtime"])
def test_no_module_imports_a_heavy_library_at_its_top(part):
    for path in modules_of(part):
        assert not set(top_level_imports(path)) & set(HEAVY), path


def test_the_namespace_has_no_init_file_and_no_generic_package():
    assert not list(ROOT.glob("*/oddeven/__init__.py"))
    assert not list(ROOT.glob("*/__init__.py"))


def loaded_by(code):
    """The top-level packages in sys.modules after `code` ran in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n' + ' '.join(sys.modules))"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_help_answers_without_numpy():
    loaded = loaded_by("from oddeven.runtime.cli import cli; cli.main(['--help'], standalone_mode=False)")
    assert "click" in loaded
    assert not loaded & {"numpy", "PIL", "tensorflow"}


def test_predict_loads_numpy_pillow_and_one_engine_only(tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("L", (28, 28)).save(path)
    loaded = loaded_by(
        f"from oddeven.runtime.cli import cli; cli.main(['predict', {str(path)!r}], standalone_mode=False)"
    )
    assert {"numpy", "PIL"} <= loaded
    assert not loaded & {*HEAVY, "onnxruntime"}
