"""Which files the gate checks, and the reference that each is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from oddeven.runtime.artifacts.resolve import check_one_model, resolve
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.registry import choose_engines, holds_code
from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.images.image_folder import load_image_folder
from oddeven.runtime.parity.thresholds import ThresholdRule
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.verify.report import Broken

Note = Callable[[str], None]


@dataclass(frozen=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        engines: names; each file runs on all of them that read it, or on the first installed one where none is named.
        reference: a `.npz`, or a float32 model file or its folder, whose predictions for `data` are the reference.
        data: a folder of images, labelled or not, instead of the reference's own.
        max_bad: how many unusable images in it are left out before it is refused.
        rule: chooses the threshold of the reference and of each file on the validation images.
    """

    engines: tuple[str, ...] = ()
    reference: Path | None = None
    data: Path | None = None
    max_bad: int = 0
    rule: ThresholdRule | None = None


@dataclass(frozen=True)
class Target:
    """A model file to check on an engine.

    Attributes:
        shown: what the report calls the file.
        reference: what it is held to.
        listed: the manifest of its artifact folder and its record there; None for a file named alone.
        validation: the reference on validation images, where thresholds are to be chosen.
    """

    path: Path
    shown: str
    engine: str
    reference: Reference
    listed: tuple[Manifest, FileRecord] | None = None
    validation: Reference | None = None


def find_targets(paths: Sequence[Path], options: VerifyOptions, note: Note) -> list[Target | Broken]:
    """The files that `paths` mean: model files, artifact folders, or folders of these.

    The report calls a file by its folder and name, and by as many folders above as tell it from the others.

    Args:
        note: told what is left out.

    Raises:
        UsageError: a file has no reference, or the options contradict each other.
        MissingPackageError: no engine for a file, or a named one, is installed.
        DataError: the images are unusable, or the reference is of another dataset.
        ModelError: a path holds no artifacts.
    """
    if options.reference and options.reference.suffix != ".npz" and not options.data:
        raise UsageError("A model file as --reference predicts for images, so it needs --data FOLDER as well.")
    if options.reference and options.data and options.reference.is_dir():
        options = replace(options, reference=_float32_file(options.reference))
    homes = dict.fromkeys(home for path in paths for home in ([path] if path.is_file() else find_artifacts(path)))
    folders = {home.absolute().parent if home.is_file() else home.absolute() for home in homes}

    def shown(path: Path) -> str:
        parts = path.absolute().parent.parts
        for count in range(1, len(parts)):
            if sum(folder.parts[-count:] == parts[-count:] for folder in folders) == 1:
                return str(PurePath(*parts[-count:], path.name))
        return str(path.absolute())

    found: list[Target | Broken] = []
    for home in homes:
        found += (_for_file if home.is_file() else _for_folder)(home, options, note, shown)
    return found


def _for_file(path: Path, options: VerifyOptions, note: Note, shown: Callable[[Path], str]) -> Iterator[Target]:
    if options.reference is None:
        raise UsageError(f"{path} is a file alone: name what it is held to with --reference, or give its folder.")
    if options.rule:
        raise UsageError(f"{path} is a file alone; choosing a threshold needs its folder's {VALIDATION}.")
    for engine in choose_engines(path, options.engines):
        with Classifier.load(path, engine) as classifier:
            spec = classifier.spec
        yield Target(path, shown(path), engine, _reference(options.reference, spec, options, note))


def _for_folder(
    folder: Path, options: VerifyOptions, note: Note, shown: Callable[[Path], str]
) -> Iterator[Target | Broken]:
    try:
        manifest = load_manifest(folder)
        if not manifest.files:
            raise ModelError(f"{folder / MANIFEST} lists no model file, so there is nothing to verify.")
        source = options.reference
        if not source and options.data:
            source = _float32_file(folder)
        if not source:
            source = folder / REFERENCE
            check_hash(source, manifest.reference_sha256)
        reference = _reference(source, manifest.spec, options, note)
        validation = None
        if options.rule:
            check_hash(folder / VALIDATION, manifest.validation_sha256)
            validation = load_reference(folder / VALIDATION)
    except ModelError as error:
        yield Broken(folder.absolute().name, shown(folder / MANIFEST), str(error))
        return
    for record in manifest.files:
        path = folder / record.file
        if holds_code(path) and not options.engines and len(manifest.files) > 1:
            note(f"left out: {path} holds code; name its engine with --engine.")
            continue
        for engine in choose_engines(path, options.engines):
            yield Target(path, shown(path), engine, reference, (manifest, record), validation)


def _float32_file(folder: Path) -> Path:
    """The float32 file of an artifact folder, which predicts as the Keras model does."""
    files = resolve(folder)
    check_one_model(files, str(folder))
    for file in files:
        if file.precision == "float32" and file.readable:
            return file.path
    raise UsageError(f"{folder} holds no float32 file that runs here; name one with --reference FILE.")


def _reference(source: Path, spec: ModelSpec, options: VerifyOptions, note: Note) -> Reference:
    """The reference in `source`, or what the model file `source` predicts for --data; `spec` is the model to check."""
    try:
        if options.data:
            return _predicted(source, options.data, spec, options.max_bad, note)
        reference = load_reference(source)
    except ModelError as error:
        if source == options.reference:  # which is in no artifact folder, so it makes none a broken one
            raise DataError(f"--reference cannot be used: {error}") from error
        raise
    expected = spec.provenance.dataset_sha256
    if reference.dataset_sha256 != expected:
        raise DataError(
            f"{source} is of another dataset than {spec.name} was trained on: expected SHA-256 {expected[:12]}..., got "
            f"{reference.dataset_sha256[:12]}...; take the reference that was exported with the model."
        )
    return reference


def _predicted(model: Path, data: Path, spec: ModelSpec, max_bad: int, note: Note) -> Reference:
    if model.suffix == ".npz":
        raise UsageError("--data brings its own images; leave out --reference, or give it a float32 model file.")
    images = load_image_folder(data, spec.labels, spec.input, max_bad)
    for sentence in images.bad:
        note(f"left out: {sentence}")
    count = len(images.images)
    if copies := count - len({image.tobytes() for image in images.images}):
        distinct = f"so the limits hold for {count - copies} images at best; remove them."
        note(f"{data} has copies of other images: {copies} of {count}, {distinct}")
    if images.labels is None:
        note(f"{data} has no subfolder {' or '.join(spec.labels)}, so its images count as unlabelled.")
    with Classifier.load(model) as classifier:
        if classifier.spec.precision != "float32":
            raise UsageError(f"--reference {model} is {classifier.spec.precision}; expected the float32 file.")
        if classifier.spec.labels != spec.labels or classifier.spec.input != spec.input:
            raise DataError(f"{model} has other labels or takes other images than {spec.name}.")
        p, known = classifier.scores(images.images)
    return Reference(images.images, images.labels, images.slices, p, spec.provenance.dataset_sha256, known)
