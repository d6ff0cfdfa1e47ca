"""Which files the gate judges, and the reference that each is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from oddeven.runtime.artifacts.manifest import (
    MANIFEST,
    FileRecord,
    Manifest,
    check_hash,
    find_artifacts,
    load_manifest,
)
from oddeven.runtime.artifacts.reference import REFERENCE, VALIDATION, Reference, load_reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.registry import ENGINES, choose_engines, installed
from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.images.image_folder import load_image_folder
from oddeven.runtime.parity.thresholds import ThresholdRule
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.verify.report import Broken


@dataclass(frozen=True)
class VerifyOptions:
    """What a user asked the gate to hold the files to.

    Attributes:
        engines: names, each file on all that read it; none for the first installed one.
        reference: `reference.npz`, or a model file whose answers for `data` are the reference.
        data: a folder of pictures, labelled or not, instead of the reference's own.
        max_bad: unusable pictures in it that are let through.
        choice: chooses the reference's threshold, and anew each file's, by what they answer for validation pictures.
    """

    engines: tuple[str, ...] = ()
    reference: Path | None = None
    data: Path | None = None
    max_bad: int = 0
    choice: ThresholdRule | None = None


@dataclass(frozen=True)
class Target:
    """A model file, the engine to run it on, the reference it is held to, and, of an artifact folder, its record.

    `validation` is what the reference answers for validation pictures, where thresholds are to be chosen. `shown` is
    what the report calls the file.
    """

    path: Path
    engine: str
    reference: Reference
    manifest: Manifest | None = None
    record: FileRecord | None = None
    validation: Reference | None = None
    shown: str = ""


def find_targets(paths: Sequence[Path], asked: VerifyOptions, note: Callable[[str], None]) -> list[Target | Broken]:
    """The files meant by `paths`, each with a name for the report: its folder's and its own.

    Where folders are called the same, as many of the folders above are named as tell them apart.

    Args:
        note: told what is left out.

    Raises:
        OddEvenError: as `resolve`.
    """
    found = list(resolve(paths, asked, note))
    folders = {target.path.absolute().parent for target in found if isinstance(target, Target)}
    folders |= {Path(broken.file).parent for broken in found if isinstance(broken, Broken)}
    return [
        replace(target, shown=_short(target.path.absolute(), folders))
        if isinstance(target, Target)
        else replace(target, file=_short(Path(target.file), folders))
        for target in found
    ]


def _short(path: Path, folders: Iterable[Path]) -> str:
    """The end of the absolute `path` that no file of another one of `folders` has."""
    parts = path.parent.parts
    for count in range(1, len(parts)):
        if sum(folder.parts[-count:] == parts[-count:] for folder in folders) == 1:
            return str(PurePath(*parts[-count:], path.name))
    return str(path)


def resolve(paths: Sequence[Path], asked: VerifyOptions, note: Callable[[str], None]) -> Iterator[Target | Broken]:
    """The files meant by `paths`, model files or artifact folders, or folders of these.

    A `Broken` one has its absolute path.

    Args:
        note: told what is left out.

    Raises:
        UsageError: a file has nothing to be held to, or the options contradict each other.
        MissingPackageError: no engine for a file, or a named one, is installed.
        DataError: the pictures are unusable, or the reference is of another dataset.
        ModelError: a path holds no artifacts.
    """
    if asked.reference and asked.reference.suffix != ".npz" and not asked.data:
        raise UsageError("A model file as --reference answers for pictures, so it needs --data FOLDER as well.")
    for path in paths:
        if path.is_file():
            if asked.choice:
                raise UsageError(f"{path} is a file alone; choosing a threshold needs its folder's {VALIDATION}.")
            for engine in choose_engines(path, asked.engines):
                yield Target(path, engine, _reference_for_file(path, asked, note))
            continue
        for folder in find_artifacts([path]):
            try:
                manifest = load_manifest(folder)
                if not manifest.files:
                    raise ModelError(f"{folder / MANIFEST} lists no model file, so there is nothing to verify.")
                reference = _reference_for_folder(folder, manifest, asked, note)
                validation = _validation(folder, manifest) if asked.choice else None
            except ModelError as error:
                yield Broken(folder.absolute().name, str(folder.absolute() / MANIFEST), str(error))
                continue
            for record in manifest.files:
                for engine in choose_engines(folder / record.file, asked.engines):
                    yield Target(folder / record.file, engine, reference, manifest, record, validation)


def _validation(folder: Path, manifest: Manifest) -> Reference:
    check_hash(folder / VALIDATION, manifest.validation_sha256)
    return load_reference(folder / VALIDATION)


def _reference_for_folder(
    folder: Path, manifest: Manifest, asked: VerifyOptions, note: Callable[[str], None]
) -> Reference:
    if asked.data:
        return _answered(asked.reference or _float_file(folder, manifest), manifest.spec, asked, note)
    path = asked.reference or folder / REFERENCE
    if not asked.reference:
        check_hash(path, manifest.reference_sha256)
    return _of_dataset(path, manifest.spec)


def _reference_for_file(path: Path, asked: VerifyOptions, note: Callable[[str], None]) -> Reference:
    if asked.reference is None:
        raise UsageError(f"{path} is a file alone: name what it is held to with --reference, or give its folder.")
    with Classifier.load(path, choose_engines(path, asked.engines)[0]) as classifier:
        spec = classifier.spec
    if asked.data:
        return _answered(asked.reference, spec, asked, note)
    return _of_dataset(asked.reference, spec)


def _of_dataset(path: Path, spec: ModelSpec) -> Reference:
    """The reference at `path`, of the dataset that the model of `spec` was trained on."""
    reference = load_reference(path)
    expected = spec.provenance.dataset_sha256
    if reference.dataset_sha256 != expected:
        raise DataError(
            f"{path} is of another dataset than {spec.name} was trained on: expected SHA-256 {expected[:12]}..., got "
            f"{reference.dataset_sha256[:12]}...; take the reference that was exported with the model."
        )
    return reference


def _answered(model: Path, spec: ModelSpec, asked: VerifyOptions, note: Callable[[str], None]) -> Reference:
    """What the model file `model` answers for the pictures of `asked.data`, as a reference."""
    if asked.data is None or model.suffix == ".npz":
        raise UsageError("--data brings its own pictures; leave out --reference, or give it a float32 model file.")
    pictures = load_image_folder(asked.data, spec, asked.max_bad)
    for sentence in pictures.bad:
        note(f"left out: {sentence}")
    if pictures.labels is None:
        note(f"{asked.data} has no subfolder {' or '.join(spec.labels)}, so its pictures count as unlabelled.")
    with Classifier.load(model) as classifier:
        if classifier.spec.labels != spec.labels or classifier.spec.input != spec.input:
            raise DataError(f"{model} answers another question or takes other pictures than {spec.name}.")
        p = classifier.probabilities(pictures.images)
    return Reference(pictures.images, pictures.labels, pictures.slices, p, spec.provenance.dataset_sha256)


def _float_file(folder: Path, manifest: Manifest) -> Path:
    """The float32 file of an artifact folder, which answers as Keras does."""
    readable = {row.suffix for name, row in ENGINES.items() if installed(name)}
    for record in manifest.files:
        if record.precision == "float32" and Path(record.file).suffix in readable:
            return folder / record.file
    raise UsageError(f"{folder} holds no float32 file that runs here; name one with --reference FILE.")
