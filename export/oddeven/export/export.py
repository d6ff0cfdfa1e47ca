"""One Keras model into one artifact folder: files, reference, manifest, each proven as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.export import keras_model
from oddeven.export.calibration import draw
from oddeven.export.formats import FORMATS
from oddeven.runtime import artifact, reference
from oddeven.runtime.artifact import FileRecord, Manifest
from oddeven.runtime.engines import open_engine
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256, write
from oddeven.runtime.parity import Policy
from oddeven.runtime.reference import Reference
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.tensor import Pixels
from oddeven.train.dataset import Dataset

BATCH = 1000
MAKERS = ("oddeven", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")


def export(
    path: Path,
    dataset: Dataset,
    formats: tuple[str, ...],
    out: Path,
    policy: Policy,
    calibration_size: int,
    note: Callable[[str], None],
) -> Manifest:
    """Write the Keras model at `path` into the folder `out` in each of `formats`, the manifest last.

    Args:
        path: a `.keras` file with a spec.
        dataset: the one it was trained on; training pictures calibrate, test pictures prove.
        formats: names in `FORMATS`.
        out: the artifact folder.
        policy: what each file is judged by.
        calibration_size: how many training pictures set the quantized ranges.
        note: told each format as it begins.

    Raises:
        ModelError: the file cannot be read or converted.
        DataError: the dataset is not the one the model was trained on.
        OutputError: a file cannot be written.
    """
    model, spec = keras_model.load(path)
    if spec.provenance.dataset_sha256 != dataset.sha256:
        raise DataError(f"{path} was trained on another {spec.provenance.dataset} than the one at hand.")
    truth = _reference(model, spec, dataset)
    reference.save(truth, out / reference.FILE)
    pictures, calibration = draw(dataset, calibration_size)
    records = []
    for name in formats:
        row = FORMATS[name]
        note(name)
        file_spec = dataclasses.replace(
            spec, precision=row.precision, calibration=calibration if row.calibrated else None
        )
        content = row.converter()(model, file_spec, _real(pictures, spec))
        write(out / row.file_name(spec.name), content)
        records.append(_record(name, out / row.file_name(spec.name), truth, policy))
    manifest = Manifest(
        spec=spec,
        reference_sha256=sha256((out / reference.FILE).read_bytes()),
        versions={package: version(package) for package in MAKERS},
        files=tuple(records),
    )
    write(out / artifact.MANIFEST, to_json(manifest))
    return manifest


def _reference(model: Any, spec: ModelSpec, dataset: Dataset) -> Reference:
    """What the Keras model answers on the test split."""
    test = dataset.test
    probabilities = model.predict(_real(test.images, spec), batch_size=BATCH, verbose=0)[:, 0]
    return Reference(test.images, test.labels, test.slices, probabilities)


def _real(pixels: Pixels, spec: ModelSpec) -> Any:
    """Pixels as the real values the model was trained on, float32."""
    span = np.float32((spec.input.high - spec.input.low) / 255.0)
    return pixels.astype(np.float32) * span + np.float32(spec.input.low)


def _record(name: str, path: Path, truth: Reference, policy: Policy) -> FileRecord:
    """The manifest's line for a file that has just been written, parity included."""
    engine = open_engine(path)
    source, sink = engine.input, engine.output
    engine.close()
    _, parity = artifact.measure(path, truth, policy)
    content = path.read_bytes()
    return FileRecord(path.name, name, FORMATS[name].precision, len(content), sha256(content), source, sink, parity)
