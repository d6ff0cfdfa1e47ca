"""The C library that `oddeven export --format c` makes, as this machine's compiler builds it.

It runs the code in the file, so it is taken only where it is asked for by name.
"""

from __future__ import annotations

import ctypes
import io
import re
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import COMPILER, Engine, PackageEngine
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo, pixel_input
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import DAMAGED
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec

SECOND_OUTPUT = "second_output.json"  # in the archive: its tensor, where the model has it
FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")


class CompiledEngine(PackageEngine):
    """One loaded library, which computes one image at a time; the process keeps it mapped when the engine is closed."""

    def __init__(
        self, functions: tuple[Any, Any], model: ModelFile, spec: ModelSpec, familiarity: TensorInfo | None
    ) -> None:
        super().__init__(functions, model)
        self.familiarity = familiarity
        self.input = pixel_input("image", (-1, *spec.input.shape), spec.input)
        self.output = TensorInfo("probability", (-1, 1), "uint8", 1 / 256)

    def _compute(self, functions: tuple[Any, Any], batch: Array) -> tuple[Array, ...]:
        probability, raw_familiarity = functions
        images = map(np.ascontiguousarray, batch)
        q_outputs = np.array([(probability(image.ctypes.data), raw_familiarity()) for image in images], np.uint8)
        return tuple(q_outputs.reshape(-1, 2, 1).swapaxes(0, 1)[: 1 + (self.familiarity is not None)])


def identifier(name: str) -> str:
    """A model's name as it stands in C."""
    return re.sub(r"\W", "_", name, flags=re.ASCII).lower()


def open_model(model: ModelFile, threads: int) -> Engine:
    """Compile and load the library in a ZIP file.

    Raises:
        ModelError: the file is damaged, is no such library, or the compiler refuses it.
    """
    if model.spec is None:
        raise ModelError(f"{model.path} is no C library made by oddeven export.")
    name = f"oddeven_{identifier(model.spec.name)}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(io.BytesIO(model.content)) as archive:
                archive.extractall(folder)
        except DAMAGED as error:
            raise ModelError(f"{model.path} is damaged ({error}); export it again.") from error
        source, built = Path(folder, name, "src", f"{name}.c"), Path(folder, "library.so")
        done = subprocess.run([COMPILER, *FLAGS, "-o", built, source], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ModelError(f"{model.path}: the C compiler refuses it ({done.stderr.strip():.200}).")
        library, second = ctypes.CDLL(str(built)), Path(folder, name, SECOND_OUTPUT)
        familiarity = from_json(TensorInfo, second.read_text(), str(model.path)) if second.is_file() else None
    probability, raw_familiarity = (library[f"{name}_{what}"] for what in ("probability", "raw_familiarity"))
    probability.argtypes, probability.restype = [ctypes.c_void_p], ctypes.c_uint8
    raw_familiarity.argtypes, raw_familiarity.restype = [], ctypes.c_uint8
    return CompiledEngine((probability, raw_familiarity), model, model.spec, familiarity)
