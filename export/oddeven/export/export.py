"""One Keras model into one artifact folder: files, reference, manifest, each file judged as it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.export.calibration import DEFAULT_SIZE, check_calibration, disjoint_draws, draw_calibration
from oddeven.export.conversion import About, Conversion, first_output, outputs
from oddeven.export.diagnosis import explain_failure, measure_stability
from oddeven.export.formats import DEFAULTS, FORMATS
from oddeven.export.keras_model import load_keras_model
from oddeven.export.model_card import CARD, model_card
from oddeven.export.overflow_rate import measure_overflow
from oddeven.export.own_model import OwnModel
from oddeven.runtime.artifacts.manifest import MANIFEST, FileRecord, Manifest
from oddeven.runtime.artifacts.reference import REFERENCE, VALIDATION, Reference, save_reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_features
from oddeven.runtime.familiarity import familiarities
from oddeven.runtime.files import sha256, write
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.parity.check import PASS, Check
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
        threshold_rule: chooses the threshold of the model, and of each file, by the validation images.
        calibration_size, calibration_seed: of the draw of training images that set the quantized ranges; without a
            size `DEFAULT_SIZE` of them, or all where there are fewer.
        calibration_check: quantize from two more draws as well, and compare.
        float_io, full_range: as in `Conversion`.
        familiarity: write the second output of models that have one.
        from_logits: the model ends in a logit; append the sigmoid.
        about: for the files' standard metadata and the model card.
        display_names: of the labels, as in `ModelSpec`.
    """

    formats: tuple[str, ...] = DEFAULTS
    policy: Policy = field(default_factory=Policy)
    threshold_rule: ThresholdRule | None = None
    calibration_size: int | None = None
    calibration_seed: int = 0
    calibration_check: bool = False
    float_io: bool = False
    full_range: bool = False
    familiarity: bool = True
    from_logits: bool = False
    about: About = field(default_factory=About)
    display_names: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """A finished artifact folder, the reference in it, and what there is to report of each file."""

    manifest: Manifest
    reference: Reference
    files: tuple[FileReport, ...]
    stability: tuple[Stability, ...]


def export_model(
    path: Path,
    dataset: Dataset,
    settings: Settings,
    out: Path,
    step: Callable[[str], None],
    warn: Callable[[str], None],
    own: OwnModel | None = None,
) -> Exported:
    """Write the model at `path` into the folder `out` in each format, the manifest last.

    Equal models, data, settings and package versions give equal bytes.

    Args:
        path: a `.keras` file with a spec, or any model that `own` describes.
        dataset: the one it was trained on; training images calibrate, test images judge.
        settings: formats and options.
        out: the artifact folder.
        step: told each file as it begins.
        warn: told each doubt about the calibration images, and of files in `out` that an earlier export left.
        own: of a model that carries no spec.

    Raises:
        ModelError: the file cannot be read or converted.
        DataError: the calibration images are unfit.
        OutputError: a file cannot be written.
    """
    import keras

    keras.backend.clear_session()  # layer names, and so the bytes, would follow from what was loaded before
    if own:
        model, spec = own.load(path, settings.from_logits), own.spec
    else:
        model, spec = load_keras_model(path, settings.from_logits)
    if not settings.familiarity:
        model, spec = first_output(model, spec)
    size = settings.calibration_size or min(DEFAULT_SIZE, len(dataset.train))
    images, record = draw_calibration(dataset, size, settings.calibration_seed)
    for warning in check_calibration(images, dataset):
        warn(warning)
    test, validation = (_reference(model, spec, split) for split in (dataset.test, dataset.validation))
    (out / MANIFEST).unlink(missing_ok=True)  # an earlier one would vouch for files that are not its own
    save_reference(test, out / REFERENCE)
    save_reference(validation, out / VALIDATION)
    if settings.threshold_rule:
        spec = replace(spec, threshold=settings.threshold_rule(validation.probabilities, validation.truth))
    spec = replace(spec, display_names=settings.display_names or spec.display_names)
    calibrated = replace(spec, calibration=record)
    calibration = to_float(images, spec.input)
    source = Conversion(model, calibrated, calibration, settings.float_io, settings.full_range, settings.about)
    golden = Golden(choose_golden(test, spec.threshold), {})
    records, reports = [], []
    for name in settings.formats:
        step(FORMATS[name].file_name(spec.name))
        file, report = _export_file(name, source, out, settings, test, validation, golden)
        records.append(file)
        reports.append(report)
    golden_file = out / f"{spec.name}{GOLDEN_SUFFIX}"
    save_golden(golden, golden_file)
    manifest = Manifest(
        spec=spec,
        reference_sha256=sha256((out / REFERENCE).read_bytes()),
        validation_sha256=sha256((out / VALIDATION).read_bytes()),
        selftest_sha256=sha256(golden_file.read_bytes()),
        versions={package: version(package) for package in MAKERS},
        files=tuple(records),
        cpu_features=cpu_features(),
    )
    write(out / CARD, model_card(manifest, reports, model, settings.about))
    write(out / MANIFEST, to_json(manifest))
    earlier = [row.file_name(spec.name) for name, row in FORMATS.items() if name not in settings.formats]
    if left := [name for name in earlier if (out / name).exists()]:
        warn(f"{out} still has {', '.join(left)} of an earlier export; its manifest has only the new files.")
    stability = []
    if settings.calibration_check:
        draws = disjoint_draws(dataset, size, settings.calibration_seed)
        for name in (name for name in settings.formats if FORMATS[name].calibrated):
            step(f"{FORMATS[name].file_name(spec.name)} from other calibration images")
            stability.append(measure_stability(source, name, draws, dataset.validation.images))
    return Exported(manifest, test, tuple(reports), tuple(stability))


def _reference(model: Any, spec: ModelSpec, split: Split) -> Reference:
    """What the Keras model predicts for a split."""
    parts = [
        dict(outputs(model.predict(to_float(split.images[i : i + BATCH], spec.input), batch_size=BATCH, verbose=0)))
        for i in range(0, len(split), BATCH)
    ]
    p, *raw = (np.concatenate([part[name] for part in parts])[:, 0] for name in parts[0])
    known = familiarities(raw[0], spec.familiarity) if spec.familiarity else None
    return Reference(split.images, split.labels, split.slices, p, spec.provenance.dataset_sha256, known)


def _export_file(
    name: str, source: Conversion, out: Path, settings: Settings, test: Reference, validation: Reference, golden: Golden
) -> tuple[FileRecord, FileReport]:
    """Write one format, compare it with the reference, time it, and add what it predicts to `golden`.

    Returns:
        The manifest's record and the report's.
    """
    row, reference_threshold = FORMATS[name], source.spec.threshold
    path = out / row.file_name(source.spec.name)
    write(path, row.convert(source))
    notes = row.limits(source.spec) if row.limits else ()
    if settings.threshold_rule and not row.limits:
        with Classifier.load(path, row.engine) as classifier:
            threshold = settings.threshold_rule(classifier.probabilities(validation.images), validation.truth)
        source = replace(source, spec=replace(source.spec, threshold=threshold))
        write(path, row.convert(source))
    with Classifier.load(path, row.engine) as classifier:
        thresholds = reference_threshold, classifier.spec.threshold
        checks = tuple(Check("format", PASS, "MediaPipe can run the file.", note) for note in notes)
        overflow = measure_overflow(path, source.calibration) if path.suffix == ".onnx" else ()
        report = examine(classifier, path, name, test, settings.policy, checks, thresholds, overflow)
        golden.answers[path.name], known = classifier.scores(golden.images)
        if known is not None:
            golden.familiarities[path.name] = known
        record = FileRecord(
            file=path.name,
            format=name,
            precision=row.precision,
            threshold=classifier.spec.threshold,
            low=classifier.spec.input.low,
            high=classifier.spec.input.high,
            size_bytes=report.size_bytes,
            sha256=sha256(path.read_bytes()),
            input=classifier.engine.input,
            output=classifier.engine.output,
            familiarity=classifier.engine.familiarity,
            parity=report.parity,
            overflow=report.overflow,
            notes=notes,
        )
    if not row.limits:
        report = explain_failure(report, path, source, validation.images)
    return record, report
