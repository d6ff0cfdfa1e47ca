"""Who may import whom: the parts, the rooms inside them, and what must not be imported at all on a device."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PARTS = ("train", "export", "runtime")
# The runtime's rooms, each with those it may import from beside the files at the top, which import no room; the
# classifier stands between the rooms that it is made of and those that use it.
ROOMS = {
    "engines": {"images"},
    "images": set(),
    "parity": set(),
    "artifacts": {"engines", "images", "parity"},
    "overrides": {"images"},
    "classifier": {"engines", "images", "artifacts", "overrides"},
    "device": {"engines", "images", "parity", "artifacts", "classifier"},
    "verify": {"engines", "images", "parity", "artifacts", "classifier", "device"},
    "serve": {"engines", "images", "artifacts", "classifier", "device"},
    "update": set(),
    "fleet": {"verify"},  # only the style of its pages
    "archive": {"images", "artifacts", "classifier", "verify"},  # of the last only the style of its pages
    "cli": {"engines", "images", "parity", "artifacts", "classifier", "device", "verify", "serve", "update", "fleet",
            "archive"},
}  # fmt: skip
TOP = {
    "arrays",
    "errors",
    "familiarity",
    "files",
    "page",
    "prediction",
    "process",
    "project",
    "schema",
    "spec",
    "table",
    "value_range",
}
# What training may take: plain data, and the functions that decode and prepare images as the device does.
FOR_TRAINING = TOP - {"prediction", "project", "value_range"} | {"engines.metadata", "images", "parity.thresholds"}
HEAVY = ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "rich", "scipy", "sklearn", "jinja2")


def modules_of(part):
    return sorted((ROOT / part / "oddeven" / part).rglob("*.py"))


def dotted(path):
    """`oddeven.runtime.spec` for the file of that module, and the package for its __init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for part in PARTS for path in modules_of(part)}


def imports(path):
    """Every dotted name that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name):
    """The module of ours that a dotted name is, or is defined in; None for a foreign one."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name if name in MODULES else None


def edges():
    """Module -> modules of ours that it imports, also by a string that is handed to importlib; not for types alone."""
    graph = {}
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        typing_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        named = [
            node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MODULES
        ]  # fmt: skip
        for node in ast.walk(tree):
            if id(node) in typing_only:
                continue
            if isinstance(node, ast.Import):
                named += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named += [f"{node.module}.{alias.name}" for alias in node.names]
        graph[name] = {module_of(other) for other in named} - {name, None}
    return graph


def room_of(name):
    return name.split(".")[2] if name.count(".") > 1 else ""


def top_level_imports(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]


def test_no_module_imports_itself_through_others():
    """Prints the import graph, lowest rooms first: `pytest -s tests/test_structure.py`."""
    graph = edges()
    assert any(graph.values())
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    for name in order:
        print(f"{name}: {', '.join(sorted(graph[name])) or '-'}")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_the_rooms_below_it(room):
    allowed = ROOMS[room] | TOP | {room, ""}
    for name, found in edges().items():
        if name.startswith(f"oddeven.runtime.{room}"):
            used = {room_of(other) for other in found if other.startswith("oddeven.runtime")}
            # The command line starts the commands of the other parts by their names, which is all it knows of them.
            assert used <= allowed, (name, used - allowed)


def test_the_files_at_the_top_of_the_runtime_import_no_room():
    for name, found in edges().items():
        if name.startswith("oddeven.runtime.") and room_of(name) in TOP:
            used = {room_of(other) for other in found if other.startswith("oddeven.runtime")}
            assert used <= TOP | {""}, (name, used)


def test_every_module_of_the_runtime_stands_in_a_room_or_is_named_here():
    rooms = {room_of(name) for name in MODULES if name.startswith("oddeven.runtime.")}
    assert rooms == set(ROOMS) | TOP | {"__main__"}


# What `packages_distributions` cannot say here: what is not installed with this Python, or has two distributions.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "gpiozero": "gpiozero", "tflite_runtime": "tflite-runtime", "tomli": "tomli",
    "prometheus_client": "prometheus-client", "tflite_micro": "tflite-micro",
    "ai_edge_litert": "ai-edge-litert", "PIL": "pillow", "keras": "keras", "google": "protobuf",
}  # fmt: skip
OF_DEBIAN = {"picamera2"}  # apt has it, PyPI has no wheel of it
EXTRAS = {
    "runtime": {
        "onnx",
        "tflite",
        "camera",
        "gpio",
        "report",
        "serve",
        "mediapipe",
        "micro",
        "mqtt",
        "archive",
        "cluster",
    },
    "train": {"train"},
    "export": {"export", "train", "onnx"},
}


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
        assert all(n.startswith("oddeven.train.data") for n in names), (path, names)


def test_train_imports_from_runtime_only_plain_data():
    for path in modules_of("train"):
        assert not [n for n in imports(path) if n.startswith("oddeven.export")], path
        used = {n.removeprefix("oddeven.runtime.") for n in imports(path) if n.startswith("oddeven.runtime")}
        foreign = {n for n in used if not any(n == home or n.startswith(f"{home}.") for home in FOR_TRAINING)}
        assert not foreign, (path, foreign)


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
    loaded = loaded_by("from oddeven.runtime.cli.main import cli; cli.main(['--help'], standalone_mode=False)")
    assert "click" in loaded
    assert not loaded & {"numpy", "PIL", "tensorflow"}


def test_predict_loads_numpy_pillow_and_one_engine_only(tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("L", (28, 28)).save(path)
    loaded = loaded_by(
        f"from oddeven.runtime.cli.main import cli; cli.main(['predict', {str(path)!r}], standalone_mode=False)"
    )
    assert {"numpy", "PIL"} <= loaded
    assert not loaded & {*HEAVY, "onnxruntime"}
