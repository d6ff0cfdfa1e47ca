"""The contract of every engine: one open model, whichever package executes it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo, decode
from oddeven.runtime.errors import ModelError, UsageError, reason
from oddeven.runtime.spec import ModelSpec

COMPILER = "cc"  # the package of the engine that compiles C


class Engine(ABC):
    """One open model.

    Attributes:
        name, package: its row in `ENGINES`, and what that row says executes the model; the registry sets both.
        input, output: the images and the probability; the first dimension of each is the batch.
        familiarity: the second output, a raw score, where the file has it.
        spec: what the file says about itself; None for a bare file.
        metadata: what it says in the format's own way, where the package reads that.
    """

    name: str
    package: str
    input: TensorInfo
    output: TensorInfo
    familiarity: TensorInfo | None = None
    spec: ModelSpec | None
    metadata: Mapping[str, object] = MappingProxyType({})

    @property
    def version(self) -> str:
        """The version of the package."""
        return package_version(self.package)

    @abstractmethod
    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The output tensors, (N, 1), real or quantized, for `batch`, (N, H, W, C) in the input's dtype.

        The first is the probability, the second, where the file has it, the raw score of familiarity.

        Not to be called from two threads at once.

        Raises:
            ModelError: the engine cannot compute it, most likely because the file is damaged.
            UsageError: the engine is closed.
        """

    def run(self, batch: Array) -> npt.NDArray[np.float32]:
        """Probability of label 1, float32 (N,), for `batch`, (N, H, W, C) in the input's dtype."""
        return decode(self.invoke(batch)[0], self.output)

    @abstractmethod
    def close(self) -> None:
        """Free the model; the engine cannot run any more."""


class PackageEngine(Engine):
    """An engine around what its package makes of a model file: an interpreter, a session, a classifier."""

    def __init__(self, opened: Any, model: ModelFile) -> None:
        self._opened, self._path, self.spec = opened, model.path, model.spec

    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The output tensors; whatever the package raises is a ModelError."""
        if self._opened is None:
            raise closed()
        try:
            return self._compute(self._opened, batch)
        except Exception as error:
            raise failed(self._path, self.package, "run", error) from error

    @abstractmethod
    def _compute(self, opened: Any, batch: Array) -> tuple[Array, ...]:
        """As `invoke`, by what the package has made; its errors may pass."""

    def close(self) -> None:
        """Forget what the package has made, which frees it."""
        self._opened = None


def outputs(found: Sequence[TensorInfo]) -> tuple[TensorInfo, TensorInfo | None]:
    """The outputs of a file as `Engine.output` and `Engine.familiarity` (ValueError: there are more)."""
    if len(found) > 2:
        raise ValueError(f"it has {len(found)} outputs, expected a probability and perhaps a familiarity")
    return found[0], found[1] if len(found) == 2 else None


def closed() -> UsageError:
    """The error for an engine that is used after it was closed."""
    return UsageError("The model is closed; load it again.")


def package_version(package: str) -> str:
    """The version of the installed distribution of `package`, by its import name, or of the C compiler."""
    from importlib.metadata import version  # slow to import, and rarely needed

    if package == COMPILER:
        return subprocess.run([COMPILER, "-dumpversion"], capture_output=True, text=True, check=True).stdout.strip()
    return version(package.replace("_", "-"))


def failed(path: Path, package: str, what: str, error: Exception) -> ModelError:
    """The error for a file that `package` cannot `what`, with the package's own reason."""
    return ModelError(f"{path}: {package} {package_version(package)} cannot {what} it ({reason(error, 200)}).")
