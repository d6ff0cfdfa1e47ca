"""One Keras model into one artifact folder: files, reference, manifest, each proven as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from oddeven.export import calibration, keras_model, layer_error, stability
from oddeven.export.formats import DEFAULTS, FORMATS, Format, Source
from oddeven.runtime import artifact, reference
from oddeven.runtime.artifact import FileRecord, Manifest
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256, write
from oddeven.runtime.latency import median_us
from oddeven.runtime.parity import PASS, Policy
from oddeven.runtime.reference import Reference
from oddeven.runtime.report import FileReport, Stability
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec
from oddeven.train.dataset import Dataset

BATCH = 1000
MAKERS = ("oddeven", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Settings:
    """How to export.

    Attributes:
        formats: names in `FORMATS`.
        policy: what each file is judged by.
        calibration_size, calibration_seed: of the draw of training pictures that set the quantized ranges.
        float_io, reduce_range: as in `Source`.
        from_logits: the model ends in a logit; append the sigmoid.
        calibration_check: quantize from two more draws as well, and compare.
    """

    formats: tuple[str, ...] = DEFAULTS
    policy: Policy = field(default_factory=Policy)
    calibration_size: int = calibration.DEFAULT_SIZE
    calibration_seed: int = 0
    float_io: bool = False
    reduce_range: bool = False
    from_logits: bool = False
    calibration_check: bool = False


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
        DataError: the dataset is not the one the model was trained on, or the calibration pictures are unfit.
        OutputError: a file cannot be written.
    """
    import keras

    keras.backend.clear_session()  # layer names, and so the bytes, would follow from what was loaded before
    model, spec = keras_model.load(path, settings.from_logits)
    if spec.provenance.dataset_sha256 != dataset.sha256:
        raise DataError(f"{path} was trained on another {spec.provenance.dataset} than the one at hand.")
    truth = _reference(model, spec, dataset)
    reference.save(truth, out / reference.FILE)
    pictures, record = calibration.draw(dataset, settings.calibration_size, settings.calibration_seed)
    for warning in calibration.lint(pictures, record, dataset):
        warn(warning)
    source = Source(model, spec, calibration.real(pictures, spec.input), settings.float_io, settings.reduce_range)
    made = []
    for name in settings.formats:
        row = FORMATS[name]
        step(row.file_name(spec.name))
        file_spec = dataclasses.replace(spec, precision=row.precision, calibration=record if row.calibrated else None)
        own = dataclasses.replace(source, spec=file_spec)
        write(out / row.file_name(spec.name), row.converter()(own))
        line, report = _prove(name, row, out, file_spec, truth, settings.policy)
        if report.parity.verdict != PASS:
            report = layer_error.explain(report, out / line.file, own, dataset.validation.images)
        made.append((line, report))
    manifest = Manifest(
        spec=spec,
        reference_sha256=sha256((out / reference.FILE).read_bytes()),
        versions={package: version(package) for package in MAKERS},
        files=tuple(line for line, _ in made),
    )
    write(out / artifact.MANIFEST, to_json(manifest))
    checked = tuple(_check(source, dataset, settings, step)) if settings.calibration_check else ()
    return Exported(manifest, truth, tuple(report for _, report in made), checked)


def _check(source: Source, dataset: Dataset, settings: Settings, step: Callable[[str], None]) -> Iterator[Stability]:
    """How stable each calibrated format is against other calibration pictures."""
    draws = calibration.halves(dataset, settings.calibration_size, settings.calibration_seed)
    for name in settings.formats:
        if FORMATS[name].calibrated:
            step(f"{FORMATS[name].file_name(source.spec.name)} from other calibration pictures")
            yield stability.check(source, name, draws, dataset.validation.images)


def _reference(model: Any, spec: ModelSpec, dataset: Dataset) -> Reference:
    """What the Keras model answers on the test split."""
    test = dataset.test
    probabilities = model.predict(calibration.real(test.images, spec.input), batch_size=BATCH, verbose=0)[:, 0]
    return Reference(test.images, test.labels, test.slices, probabilities)


def _prove(
    name: str, row: Format, out: Path, spec: ModelSpec, truth: Reference, policy: Policy
) -> tuple[FileRecord, FileReport]:
    """Open a file that has just been written, compare and time it: the manifest's line and the report's."""
    path = out / row.file_name(spec.name)
    content = path.read_bytes()
    with Classifier.load(path) as classifier:
        engine = classifier.engine
        parity = artifact.measure(classifier, truth, policy)
        latency_us = median_us(engine, classifier.encode(truth.images[:1]))
        record = FileRecord(
            file=path.name,
            format=name,
            precision=row.precision,
            size_bytes=len(content),
            sha256=sha256(content),
            input=engine.input,
            output=engine.output,
            parity=parity,
        )
        report = FileReport(
            model=spec.name,
            labels=spec.labels,
            file=f"{out.name}/{path.name}",
            format=name,
            precision=row.precision,
            engine=engine.name,
            size_bytes=len(content),
            latency_us=latency_us,
            parity=parity,
        )
    return record, report
