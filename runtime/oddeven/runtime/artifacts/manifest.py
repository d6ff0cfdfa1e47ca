"""An artifact folder: one model's exported files, their manifest, and the reference they are checked against."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from oddeven.runtime.engines.quantization import TensorInfo
from oddeven.runtime.engines.saturation import Overflow
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import read_model_part, sha256
from oddeven.runtime.parity.compare import Parity
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import PRECISIONS, ModelSpec, plain

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """One model file as the manifest lists it.

    Attributes:
        file: its name in the folder.
        format: name of its row in the export formats.
        precision: as in its spec.
        threshold, low, high: as in its spec. Older manifests lack the last two: they are the model's.
        size_bytes, sha256: of the whole file.
        input, output, familiarity: its tensors; the last is None where it does not tell how familiar an image is.
        parity: how it compared with the Keras model when it was exported.
        overflow: the layers in which 8-bit products can overflow on some CPUs.
        notes: what of the spec its format cannot carry.
    """

    file: str
    format: str
    precision: str
    threshold: float
    size_bytes: int
    sha256: str
    input: TensorInfo
    output: TensorInfo
    parity: Parity
    overflow: tuple[Overflow, ...] = ()
    notes: tuple[str, ...] = ()
    familiarity: TensorInfo | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Refuse a file outside the folder, and an unknown precision (ValueError)."""
        if not plain(self.file):
            raise ValueError(f"the file name {self.file!r} leads out of the folder; expected that of a file in it.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; known are {', '.join(PRECISIONS)}.")

    def own_spec(self, model: ModelSpec) -> ModelSpec:
        """The spec of `model` with this file's threshold and value range."""
        low = model.input.low if self.low is None else self.low
        high = model.input.high if self.high is None else self.high
        return replace(model, threshold=self.threshold, input=replace(model.input, low=low, high=high))


@dataclass(frozen=True)
class Manifest:
    """What an artifact folder holds.

    Attributes:
        spec: of the Keras model that the files were made from.
        reference_sha256, validation_sha256: of the references over the test and the validation images.
        selftest_sha256: of the golden predictions.
        versions: of the packages that made the files, by name.
        cpu_features: of the machine that made the golden predictions and measured each file's parity.
    """

    spec: ModelSpec
    reference_sha256: str
    validation_sha256: str
    selftest_sha256: str
    versions: dict[str, str]
    files: tuple[FileRecord, ...]
    cpu_features: tuple[str, ...] = ()
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a file whose threshold or value range no spec can have (ValueError)."""
        for record in self.files:
            record.own_spec(self.spec)


def find_artifacts(path: Path) -> list[Path]:
    """The artifact folders at or directly below `path`.

    Raises:
        ModelError: there is none.
    """
    if not path.exists():
        raise ModelError(f"There is no file or folder {path}.")
    if (path / MANIFEST).is_file():
        return [path]
    found = sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST}"))
    if not found:
        raise ModelError(f"{path} holds no {MANIFEST}; make artifacts with: oddeven export MODEL.keras --out {path}")
    return found


def load_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = folder / MANIFEST
    return from_json(Manifest, read_model_part(path), str(path))


def parity_of(path: Path) -> Parity | None:
    """How the model file `path` compared with its Keras model when it was exported; None where no manifest tells.

    Raises:
        ModelError: the manifest beside it is damaged.
    """
    files = load_manifest(path.parent).files if (path.parent / MANIFEST).is_file() else ()
    return next((record.parity for record in files if record.file == path.name), None)


def check_same_model(path: Path, found: ModelSpec, expected: ModelSpec) -> None:
    """Refuse the spec of another model (ModelError); a file has a precision and calibration of its own.

    Some formats have no familiarity.
    """
    alike = replace(found, precision=expected.precision, calibration=expected.calibration)
    if found.familiarity is None:
        alike = replace(alike, familiarity=expected.familiarity, min_familiarity=expected.min_familiarity)
    for field in fields(ModelSpec):
        ours, theirs = getattr(alike, field.name), getattr(expected, field.name)
        if ours != theirs:
            raise ModelError(
                f"{path} carries the spec of another model: its {field.name} is {ours!r:.80}, the manifest's "
                f"{theirs!r:.80}; export the model again."
            )


def check_hash(path: Path, expected: str) -> None:
    """Refuse a file other than the one that the manifest was written for (ModelError)."""
    got = sha256(read_model_part(path))
    if got != expected:
        raise ModelError(
            f"{path} is not the file its manifest lists: expected SHA-256 {expected[:12]}..., got {got[:12]}...; "
            "export the model again."
        )
