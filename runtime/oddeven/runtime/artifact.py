"""An artifact folder: one model's exported files, their manifest, and the reference they are checked against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from oddeven.runtime import reference as references
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines import AUTO
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import sha256
from oddeven.runtime.parity import Parity, Policy, compare
from oddeven.runtime.reference import Reference
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.tensor import TensorInfo

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """One model file as the manifest lists it.

    Attributes:
        file: its name in the folder.
        format: name of its row in the export formats.
        precision: as in its spec.
        size_bytes, sha256: of the whole file.
        input, output: its tensors.
        parity: how it compared when it was exported.
    """

    file: str
    format: str
    precision: str
    size_bytes: int
    sha256: str
    input: TensorInfo
    output: TensorInfo
    parity: Parity


@dataclass(frozen=True)
class Manifest:
    """What an artifact folder holds.

    Attributes:
        spec: of the Keras model that the files were made from.
        reference_sha256, selftest_sha256: of `reference.npz` and of the golden answers.
        versions: of the packages that made the files, by name.
    """

    spec: ModelSpec
    reference_sha256: str
    selftest_sha256: str
    versions: dict[str, str]
    files: tuple[FileRecord, ...]
    schema_version: int = 1


def find(paths: list[Path]) -> list[Path]:
    """The artifact folders at or directly below `paths`.

    Raises:
        ModelError: a path holds none.
    """
    found: list[Path] = []
    for path in paths:
        here = [path] if (path / MANIFEST).is_file() else sorted(child.parent for child in path.glob(f"*/{MANIFEST}"))
        if not here:
            raise ModelError(
                f"{path} holds no {MANIFEST}; make artifacts with: oddeven export MODEL.keras --out {path}"
            )
        found += here
    return found


def load_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}.") from error
    return from_json(Manifest, text, str(path))


def verify(folder: Path, policy: Policy, engine: str = AUTO) -> Iterator[tuple[FileRecord, str, Parity]]:
    """Check every file of the artifact `folder` anew; yields its record, the engine that ran it, and the result.

    Raises:
        ModelError: the folder is damaged, empty, or a file is not the one the manifest lists.
        MissingPackageError: no engine for a file is installed.
    """
    manifest = load_manifest(folder)
    if not manifest.files:
        raise ModelError(f"{folder / MANIFEST} lists no model file, so there is nothing to verify.")
    _matches(folder / references.FILE, manifest.reference_sha256)
    reference = references.load(folder / references.FILE)
    for record in manifest.files:
        path = folder / record.file
        _matches(path, record.sha256)
        with Classifier.load(path, engine) as classifier:
            _same_model(path, classifier.spec, manifest.spec)
            yield record, classifier.engine.name, measure(classifier, reference, policy)


def measure(classifier: Classifier, reference: Reference, policy: Policy) -> Parity:
    """Run an open model over the reference's pictures and compare.

    Raises:
        ModelError: the model does not take the reference's pictures, or answers with no probabilities.
    """
    spec = classifier.spec
    if spec.input.shape != reference.images.shape[1:]:
        raise ModelError(
            f"{spec.name} takes {spec.input.shape} pictures; the reference's are {reference.images.shape[1:]}."
        )
    try:
        return compare(
            reference.probabilities,
            classifier.probabilities(reference.images),
            reference.labels,
            reference.slices,
            spec.threshold,
            spec.precision,
            policy,
        )
    except ValueError as error:
        raise ModelError(f"{spec.name}, {spec.precision}: {error}.") from error


def _same_model(path: Path, found: ModelSpec, expected: ModelSpec) -> None:
    """Refuse a file that carries the spec of another model, of swapped labels or of another input."""
    alike = replace(found, precision=expected.precision, calibration=expected.calibration)
    for field in fields(ModelSpec):
        ours, theirs = getattr(alike, field.name), getattr(expected, field.name)
        if ours != theirs:
            raise ModelError(
                f"{path} carries the spec of another model: its {field.name} is {ours!r:.80}, the manifest's "
                f"{theirs!r:.80}; export the model again."
            )


def _matches(path: Path, expected: str) -> None:
    """Refuse a file that is not the one the manifest was written for."""
    try:
        got = sha256(path.read_bytes())
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}.") from error
    if got != expected:
        raise ModelError(
            f"{path} is not the file its manifest lists: expected SHA-256 {expected[:12]}..., got {got[:12]}...; "
            "export the model again."
        )
