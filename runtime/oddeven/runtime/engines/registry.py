"""The table of engines, which execute model files.

To add one, write a module with `open_model(model, threads) -> Engine`, which imports its package, and add a row.
What the package prints and raises while it opens a file is handled here.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddeven.runtime.engines.contract import COMPILER, Engine, failed, package_version
from oddeven.runtime.engines.metadata import ModelFile, read_model
from oddeven.runtime.engines.two_scores import TwoScores
from oddeven.runtime.errors import MissingPackageError, ModelError, OddEvenError, UsageError, choose, needing
from oddeven.runtime.process import quiet, try_first
from oddeven.runtime.spec import ModelSpec


@dataclass(frozen=True)
class EngineRow:
    """The module of an engine, how the names of its files end, the package or program it needs, how to install that,
    and whether the engine is taken only where it is asked for by name.
    """

    module: str
    suffix: str
    package: str
    install: str
    by_name: bool = False

    def reads(self, path: Path) -> bool:
        """Whether the engine reads files of that name."""
        return path.name.endswith(self.suffix)


ROOM = "oddeven.runtime.engines"
ENGINES: Mapping[str, EngineRow] = {
    "litert": EngineRow(f"{ROOM}.litert", ".tflite", "ai_edge_litert", "pip install ai-edge-litert"),
    "tflite-runtime": EngineRow(f"{ROOM}.tflite_runtime", ".tflite", "tflite_runtime", "pip install 'oddeven[tflite]'"),
    "onnxruntime": EngineRow(f"{ROOM}.onnxruntime", ".onnx", "onnxruntime", "pip install 'oddeven[onnx]'"),
    "mediapipe": EngineRow(f"{ROOM}.mediapipe", ".mediapipe.tflite", "mediapipe", "pip install 'oddeven[mediapipe]'"),
    # What a microcontroller computes, a hundred times slower than LiteRT.
    "tflite-micro": EngineRow(f"{ROOM}.tflite_micro", ".tflite", "tflite_micro", "pip install 'oddeven[micro]'", True),
    # It compiles and runs the code in the file.
    "c": EngineRow(f"{ROOM}.compiled", ".zip", COMPILER, "apt install gcc libc6-dev", True),
}
AUTO = "auto"
MOST_THREADS = 1024  # an engine that cannot start as many as it is told to may crash the process
DTYPES = ("float32", "uint8", "int8", "int16")
SURE = ("int8", "float32")  # precisions that every version of an engine can load


def installed(name: str) -> bool:
    """Whether the package of the engine `name` can be imported here, or its program started."""
    package = ENGINES[name].package
    return bool(shutil.which(package) if package == COMPILER else importlib.util.find_spec(package))


def automatic(path: Path) -> list[str]:
    """The installed engines that read `path` without being asked for by name."""
    fitting = [name for name, row in ENGINES.items() if row.reads(path) and not row.by_name]
    return [name for name in fitting if installed(name)]


def holds_code(path: Path) -> bool:
    """Whether `path` is a file that is read only by an engine that is asked for by name, since it holds code."""
    return all(row.by_name for row in ENGINES.values() if row.reads(path))


def engine_version(name: str) -> str:
    """The version of the installed package of the engine `name`."""
    return package_version(ENGINES[name].package)


def select(path: Path, name: str = AUTO) -> str:
    """The engine to open `path` with: `name` itself, or the first installed one for the file's suffix.

    Raises:
        UsageError: no engine has that name, or it reads other files.
        ModelError: no engine reads files of that suffix.
        MissingPackageError: no suitable engine is installed; the message has the pip line.
    """
    fitting = [key for key, row in ENGINES.items() if row.reads(path)]
    if not fitting:
        known = ", ".join(sorted({row.suffix for row in ENGINES.values()}))
        raise ModelError(f"{path}: no engine reads {path.suffix or 'files without a suffix'}; known are {known}.")
    if name != AUTO:
        choose("engine", name, ENGINES)
        if name not in fitting:
            raise UsageError(f"The engine {name} does not read {path.name}; use {' or '.join(fitting)}.")
        fitting = [name]
    elif holds_code(path):
        raise UsageError(f"{path} holds code; if you trust it, compile and run it with --engine {fitting[0]}.")
    for key in fitting if name != AUTO else automatic(path):
        if installed(key):
            return key
    raise MissingPackageError(f"No engine for {path.name} is installed: {_install_line(ENGINES[fitting[0]])}")


def _install_line(row: EngineRow) -> str:
    """The pip line for an engine, or what to do instead on 32-bit ARM."""
    if sys.maxsize > 2**32:
        return row.install
    if row.suffix == ".onnx":
        return "PyPI has no onnxruntime for 32 bits; on Debian trixie: apt install python3-onnxruntime"
    if sys.version_info < (3, 12):
        return "pip install tflite-runtime, with the NumPy of: apt install python3-numpy"
    return "none exists for 32 bits and Python 3.12 or newer; use a 64-bit Raspberry Pi OS, or one with Python 3.11."


def choose_engines(path: Path, names: Sequence[str]) -> list[str]:
    """Those of the engines `names` that read `path`; without names the first installed one.

    Raises:
        UsageError, MissingPackageError, ModelError: as `select`.
    """
    for name in names:
        choose("engine", name, ENGINES)
    fitting = [name for name in dict.fromkeys(names) if ENGINES[name].reads(path)]
    return [select(path, name) for name in fitting] if names else [select(path)]


def open_engine(path: Path, name: str = AUTO, threads: int = 1) -> Engine:
    """Open the model file `path`.

    Raises:
        UsageError, MissingPackageError: as `select`.
        ModelError: the file is missing, damaged, not of its kind, or not a two-class image model.
    """
    chosen = select(path, name)
    return open_read(read_model(path), chosen, threads)


def open_read(model: ModelFile, name: str, threads: int) -> Engine:
    """Open a model file that has been read with the engine `name`.

    Raises:
        ModelError: as `open_engine`.
    """
    row = ENGINES[name]
    with needing(f"The engine {name}", row.install):
        open_model = importlib.import_module(row.module).open_model
    if not model.sealed:
        try_first(lambda: _run_blank(_open(open_model, model, threads, name)), model.path)
    engine = _open(open_model, model, threads, name)
    if engine.output.shape[1:] == (2,) and engine.spec:
        engine = TwoScores(engine, engine.spec)
    taken, given = engine.input.shape, engine.output.shape
    if len(taken) != 4 or given[1:] not in ((), (1,)):
        raise ModelError(
            f"{model.path}: expected images (N, H, W, C) in and one probability out, got {taken} in and {given} out."
        )
    tensors = {"input": engine.input, "output": engine.output}
    if engine.spec:
        check_familiarity(model.path, engine, engine.spec)
    if engine.familiarity:
        tensors["second output"] = engine.familiarity
    for what, info in tensors.items():
        if info.dtype not in DTYPES or not 0.0 <= info.scale < math.inf:
            raise ModelError(
                f"{model.path}: its {what} is {info.dtype} in steps of {info.scale:g}; expected {', '.join(DTYPES)}."
            )
    if engine.spec and engine.spec.input.shape != taken[1:]:
        raise ModelError(f"{model.path}: its spec says {engine.spec.input.shape} images, its tensors {taken[1:]}.")
    return engine


def _open(open_model: Callable[[ModelFile, int], Engine], model: ModelFile, threads: int, name: str) -> Engine:
    """What `open_model` gives, as the engine `name`; its package's prints are held back, its errors ModelErrors."""
    package = ENGINES[name].package
    try:
        with quiet():
            engine = open_model(model, threads)
    except OddEvenError:
        raise
    except Exception as error:
        refused = failed(model.path, package, "load", error)
        if model.spec and model.spec.precision not in SURE:
            refused = ModelError(f"{refused} Take the {' or '.join(SURE)} file of this model.")
        raise refused from error
    engine.name, engine.package = name, package
    return engine


def check_familiarity(path: Path, engine: Engine, spec: ModelSpec) -> None:
    """Refuse a second output that the spec does not promise, or the other way round, or one of several values.

    Raises:
        ModelError: it is so.
    """
    promised, found = spec.familiarity is not None, engine.familiarity
    if promised and found is None:
        raise ModelError(f"{path}: its spec promises a familiarity, but the file has one output; export it again.")
    if found and not promised:
        raise ModelError(f"{path} has two outputs, and its spec does not say what {found.name!r} means; expected one.")
    if found and found.shape[1:] not in ((), (1,)):
        raise ModelError(f"{path}: expected one score of familiarity for an image, got {found.shape}; export it again.")


def _run_blank(engine: Engine) -> None:
    """Run an engine on one blank image and on two, since both batch sizes are used."""
    for count in (1, 2):
        engine.invoke(np.zeros((count, *(max(1, size) for size in engine.input.shape[1:])), engine.input.dtype))
