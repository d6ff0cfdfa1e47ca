"""One Keras model into one artifact folder: files, reference, manifest, each proven as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export import calibration, keras_model, layer_error, overflow, stability
from oddeven.export.formats import DEFAULTS, FORMATS, Format, Source
from oddeven.runtime import artifact, reference, selftest
from oddeven.runtime.artifact import FileRecord, Manifest
from oddeven.runtime.check import PASS
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.files import sha256, write
from oddeven.runtime.machine import cpu_features
from oddeven.runtime.operating_point import Choice
from oddeven.runtime.parity import Policy
from oddeven.runtime.reference import Reference
from oddeven.runtime.report import FileReport, Stability
from oddeven.runtime.schema import to_json
from oddeven.runtime.selftest import Golden
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.tensor import Pixels
from oddeven.train.dataset import Dataset, Split

BATCH = 1000
MAKERS = ("oddeven", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Settings:
    """How to export.

    Attributes:
        formats: names in `FORMATS`.
        policy: what each file is judged by.
        calibration_size, calibration_seed: of the draw of training pictures that set the quantized ranges; without a
            size `calibration.DEFAULT_SIZE` of them, or all where there are fewer.
        float_io, full_range: as in `Source`.
        from_logits: the model ends in a logit; append the sigmoid.
        calibration_check: quantize from two more draws as well, and compare.
        choice: chooses the threshold, and each file's anew, by the answers for validation pictures.
    """

    formats: tuple[str, ...] = DEFAULTS
    policy: Policy = field(default_factory=Policy)
    calibration_size: int | None = None
    calibration_seed: int = 0
    float_io: bool = False
    full_range: bool = False
    from_logits: bool = False
    calibration_check: bool = False
    choice: Choice | None = None


@dataclass(frozen=True)
class Exported:
    """A finished artifact folder, the reference in it, and what there is to report of each file."""

    manifest: Manifest
    reference: Reference
    files: tuple[FileReport, ...]
    stability: tuple[Stability, ...]


def export(
    path: Path,
    dataset: Dataset,
    settings: Settings,
    out: Path,
    step: Callable[[str], None],
    warn: Callable[[str], None],
) -> Exported:
    """Write the Keras model at `path` into the folder `out` in each format, the manifest last.

    An earlier manifest goes first, so that no manifest ever stands beside files that it was not written for.

    Equal models, data, settings and package versions give equal bytes.

    Args:
        path: a `.keras` file with a spec.
        dataset: the one it was trained on; training pictures calibrate, test pictures prove.
        settings: formats and options.
        out: the artifact folder.
        step: told each file as it begins.
        warn: told each doubt about the calibration pictures.

    Raises:
        ModelError: the file cannot be read or converted.
        DataError: the calibration pictures are unfit.
        OutputError: a file cannot be written.
    """
    import keras

    keras.backend.clear_session()  # layer names, and so the bytes, would follow from what was loaded before
    model, spec = keras_model.load(path, settings.from_logits)
    truth, validation = (_reference(model, spec, split) for split in (dataset.test, dataset.validation))
    (out / artifact.MANIFEST).unlink(missing_ok=True)  # an earlier one would vouch for files that are not its own
    reference.save(truth, out / reference.FILE)
    reference.save(validation, out / reference.VALIDATION)
    if settings.choice:
        spec = dataclasses.replace(spec, threshold=settings.choice(validation.probabilities, validation.truth))
    pictures, record = calibration.draw(dataset, _size(settings, dataset), settings.calibration_seed)
    for warning in calibration.lint(pictures, record, dataset):
        warn(warning)
    source = Source(model, spec, calibration.real(pictures, spec.input), settings.float_io, settings.full_range)
    golden = Golden(selftest.choose(truth, spec.threshold), {})
    made = []
    for name in settings.formats:
        row = FORMATS[name]
        step(row.file_name(spec.name))
        file_spec = dataclasses.replace(spec, precision=row.precision, calibration=record if row.calibrated else None)
        own = dataclasses.replace(source, spec=file_spec)
        path = out / row.file_name(spec.name)
        write(path, row.converter()(own))
        if settings.choice:
            threshold = settings.choice(_answers(path, validation.images), validation.truth)
            own = dataclasses.replace(own, spec=dataclasses.replace(file_spec, threshold=threshold))
            write(path, row.converter()(own))
        line, report = _prove(name, row, path, spec.threshold, truth, settings.policy, source.calibration)
        golden.answers[line.file] = _answers(path, golden.images)
        if report.verdict != PASS:
            report = layer_error.explain(report, path, own, dataset.validation.images)
        made.append((line, report))
    answers = out / f"{spec.name}{selftest.SUFFIX}"
    selftest.save(golden, answers)
    manifest = Manifest(
        spec=spec,
        reference_sha256=sha256((out / reference.FILE).read_bytes()),
        validation_sha256=sha256((out / reference.VALIDATION).read_bytes()),
        selftest_sha256=sha256(answers.read_bytes()),
        versions={package: version(package) for package in MAKERS},
        files=tuple(line for line, _ in made),
        cpu_features=cpu_features(),
    )
    write(out / artifact.MANIFEST, to_json(manifest))
    checked = tuple(_check(source, dataset, settings, step)) if settings.calibration_check else ()
    return Exported(manifest, truth, tuple(report for _, report in made), checked)


def _size(settings: Settings, dataset: Dataset) -> int:
    """How many calibration pictures to draw."""
    return settings.calibration_size or min(calibration.DEFAULT_SIZE, len(dataset.train))


def _check(source: Source, dataset: Dataset, settings: Settings, step: Callable[[str], None]) -> Iterator[Stability]:
    """How stable each calibrated format is against other calibration pictures."""
    draws = calibration.halves(dataset, _size(settings, dataset), settings.calibration_seed)
    for name in settings.formats:
        if FORMATS[name].calibrated:
            step(f"{FORMATS[name].file_name(source.spec.name)} from other calibration pictures")
            yield stability.check(source, name, draws, dataset.validation.images)


def _reference(model: Any, spec: ModelSpec, split: Split) -> Reference:
    """What the Keras model answers for a split."""
    parts = [
        model.predict(calibration.real(split.images[start : start + BATCH], spec.input), batch_size=BATCH, verbose=0)
        for start in range(0, len(split), BATCH)
    ]
    p = np.concatenate(parts)[:, 0]
    return Reference(split.images, split.labels, split.slices, p, spec.provenance.dataset_sha256)


def _answers(path: Path, images: Pixels) -> npt.NDArray[np.float32]:
    with Classifier.load(path) as classifier:
        return classifier.probabilities(images)


def _prove(
    name: str,
    row: Format,
    path: Path,
    reference_threshold: float,
    truth: Reference,
    policy: Policy,
    pictures: npt.NDArray[np.float32],
) -> tuple[FileRecord, FileReport]:
    """Open a file that has just been written, compare and time it: the manifest's line and the report's."""
    with Classifier.load(path) as classifier:
        thresholds = reference_threshold, classifier.spec.threshold
        known = overflow.measured(path, pictures) if path.suffix == ".onnx" else ()
        report = artifact.examine(classifier, path, name, truth, policy, thresholds=thresholds, known=known)
        record = FileRecord(
            file=path.name,
            format=name,
            precision=row.precision,
            threshold=classifier.spec.threshold,
            size_bytes=report.size_bytes,
            sha256=sha256(path.read_bytes()),
            input=classifier.engine.input,
            output=classifier.engine.output,
            parity=report.parity,
            overflow=report.overflow,
        )
    return record, report
