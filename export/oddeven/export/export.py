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

from oddeven.export import keras_model
from oddeven.export.calibration import DEFAULT_SIZE, check_calibration, disjoint_draws, draw_calibration
from oddeven.export.conversion import Conversion
from oddeven.export.diagnosis import explain_failure
from oddeven.export.formats import DEFAULTS, FORMATS, Format
from oddeven.export.overflow_rate import measure_overflow
from oddeven.export.stability import check_stability
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.artifacts.manifest import MANIFEST, FileRecord, Manifest
from oddeven.runtime.artifacts.reference import REFERENCE, VALIDATION, Reference, save_reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_features
from oddeven.runtime.files import sha256, write
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.thresholds import ThresholdRule
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.verify.evaluate import examine
from oddeven.runtime.verify.golden import GOLDEN_SUFFIX, Golden, choose_golden, save_golden
from oddeven.runtime.verify.report import FileReport, Stability
from oddeven.train.data.dataset import Dataset, Split

BATCH = 1000
MAKERS = ("oddeven", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Settings:
    """How to export.

    Attributes:
        formats: names in `FORMATS`.
        policy: what each file is judged by.
        calibration_size, calibration_seed: of the draw of training pictures that set the quantized ranges; without a
            size `DEFAULT_SIZE` of them, or all where there are fewer.
        float_io, full_range: as in `Conversion`.
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
    choice: ThresholdRule | None = None


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
    (out / MANIFEST).unlink(missing_ok=True)  # an earlier one would vouch for files that are not its own
    save_reference(truth, out / REFERENCE)
    save_reference(validation, out / VALIDATION)
    if settings.choice:
        spec = dataclasses.replace(spec, threshold=settings.choice(validation.probabilities, validation.truth))
    pictures, record = draw_calibration(dataset, _size(settings, dataset), settings.calibration_seed)
    for warning in check_calibration(pictures, record, dataset):
        warn(warning)
    source = Conversion(model, spec, to_float(pictures, spec.input), settings.float_io, settings.full_range)
    golden = Golden(choose_golden(truth, spec.threshold), {})
    made = []
    for name in settings.formats:
        row = FORMATS[name]
        step(row.file_name(spec.name))
        file_spec = dataclasses.replace(spec, precision=row.precision, calibration=record if row.calibrated else None)
        own = dataclasses.replace(source, spec=file_spec)
        path = out / row.file_name(spec.name)
        write(path, row.convert(own))
        if settings.choice:
            threshold = settings.choice(_answers(path, validation.images), validation.truth)
            own = dataclasses.replace(own, spec=dataclasses.replace(file_spec, threshold=threshold))
            write(path, row.convert(own))
        line, report = _prove(name, row, path, spec.threshold, truth, settings.policy, source.calibration)
        golden.answers[line.file] = _answers(path, golden.images)
        if report.verdict != PASS:
            report = explain_failure(report, path, own, dataset.validation.images)
        made.append((line, report))
    answers = out / f"{spec.name}{GOLDEN_SUFFIX}"
    save_golden(golden, answers)
    manifest = Manifest(
        spec=spec,
        reference_sha256=sha256((out / REFERENCE).read_bytes()),
        validation_sha256=sha256((out / VALIDATION).read_bytes()),
        selftest_sha256=sha256(answers.read_bytes()),
        versions={package: version(package) for package in MAKERS},
        files=tuple(line for line, _ in made),
        cpu_features=cpu_features(),
    )
    write(out / MANIFEST, to_json(manifest))
    checked = tuple(_check(source, dataset, settings, step)) if settings.calibration_check else ()
    return Exported(manifest, truth, tuple(report for _, report in made), checked)


def _size(settings: Settings, dataset: Dataset) -> int:
    """How many calibration pictures to draw."""
    return settings.calibration_size or min(DEFAULT_SIZE, len(dataset.train))


def _check(
    source: Conversion, dataset: Dataset, settings: Settings, step: Callable[[str], None]
) -> Iterator[Stability]:
    """How stable each calibrated format is against other calibration pictures."""
    draws = disjoint_draws(dataset, _size(settings, dataset), settings.calibration_seed)
    for name in settings.formats:
        if FORMATS[name].calibrated:
            step(f"{FORMATS[name].file_name(source.spec.name)} from other calibration pictures")
            yield check_stability(source, name, draws, dataset.validation.images)


def _reference(model: Any, spec: ModelSpec, split: Split) -> Reference:
    """What the Keras model answers for a split."""
    parts = [
        model.predict(to_float(split.images[start : start + BATCH], spec.input), batch_size=BATCH, verbose=0)
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
        known = measure_overflow(path, pictures) if path.suffix == ".onnx" else ()
        report = examine(classifier, path, name, truth, policy, thresholds=thresholds, known=known)
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
