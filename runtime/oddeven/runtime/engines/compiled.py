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
from oddeven.runtime.engines.contract import COMPILER, Engine, closed
from oddeven.runtime.engines.metadata import UNREADABLE, ModelFile
from oddeven.runtime.engines.quantization import TensorInfo, pixel_input
from oddeven.runtime.errors import ModelError
from oddeven.runtime.spec import ModelSpec

FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")


class CompiledEngine(Engine):
    """One loaded library, which computes one image at a time."""

    name, package = "c", COMPILER

    def __init__(self, function: Any, spec: ModelSpec) -> None:
        self._function, self.spec = function, spec
        self.input = pixel_input("image", (-1, *spec.input.shape), spec.input)
        self.output = TensorInfo("probability", (-1, 1), "uint8", 1 / 256)

    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The probability, (N, 1), alone, for `batch`, uint8 (N, H, W, C)."""
        if self._function is None:
            raise closed()
        q_outputs = [self._function(np.ascontiguousarray(image).ctypes.data) for image in batch]
        return (np.array(q_outputs, np.uint8)[:, np.newaxis],)

    def close(self) -> None:
        """Forget the library; the process keeps it mapped."""
        self._function = None


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
        except UNREADABLE as error:
            raise ModelError(f"{model.path} is damaged ({error}); export it again.") from error
        source, built = Path(folder, name, "src", f"{name}.c"), Path(folder, "library.so")
        done = subprocess.run([COMPILER, *FLAGS, "-o", built, source], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ModelError(f"{model.path}: the C compiler refuses it ({done.stderr.strip():.200}).")
        function = ctypes.CDLL(str(built))[f"{name}_probability"]
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_uint8
    return CompiledEngine(function, model.spec)
