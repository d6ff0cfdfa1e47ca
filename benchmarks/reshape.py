"""What it gains that a TFLite file holds the shape of its flatten; fills the table of docs/quantization.md.

    python benchmarks/reshape.py

Each shipped model is converted to int8 twice, once as Keras traces it, which computes that shape for each batch. Both
files must give the same bytes for all test images. Then they take turns in one process, one image at a time. Two
minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from shared import MODELS, ROOT, alternate, fill_page, table

from oddeven.export import conversion, tflite
from oddeven.export.calibration import DEFAULT_SIZE, draw_calibration
from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.images.preprocess import to_float
from oddeven.train.data.dataset import Dataset
from oddeven.train.data.registry import load_dataset

BATCHES = (1, 7, 1000)
TURNS, CALLS = 600, 10


def converted(name: str, data: Dataset) -> tuple[bytes, bytes]:
    """The int8 file with the shape computed, and with it constant."""
    model, spec = load_keras_model(ROOT / "train" / "models" / f"{name}.keras")
    images, record = draw_calibration(data, DEFAULT_SIZE, 0)
    calibrated = replace(spec, calibration=record, precision="int8")
    source = conversion.Conversion(model, calibrated, to_float(images, spec.input))
    with mock.patch.object(conversion, "_with_constant_shapes", lambda model: model):
        computed = tflite.int8(source)
    conversion.traced.cache_clear()
    return computed, tflite.int8(source)


def predicted(interpreter: Any, images: Pixels, batch: int) -> np.ndarray:
    """The output bytes for `images`, `batch` of them at a time."""
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        interpreter.resize_tensor_input(source, part.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, part)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink))
    return np.concatenate(outputs)


def rows(data: Dataset) -> Iterator[tuple[object, ...]]:
    """A row for each model; SystemExit if the two files differ in a byte."""
    for name in MODELS:
        files = converted(name, data)
        computed, constant = (Interpreter(model_content=file, num_threads=1) for file in files)
        for batch in BATCHES:
            images = data.test.images[: len(data.test) if batch == max(BATCHES) else 300]
            if not np.array_equal(predicted(computed, images, batch), predicted(constant, images, batch)):
                raise SystemExit(f"{name}: the two files differ")
        for interpreter in (computed, constant):
            predicted(interpreter, images[:1], 1)
        turns = alternate({"computed": computed.invoke, "constant": constant.invoke}, TURNS, CALLS)
        before, after = (times.mean(axis=1) for times in turns.values())
        ratio = f"{np.median(after / before):.3f}"
        yield (name, *(f"{len(file):,}" for file in files), f"{before.min():.1f}", f"{after.min():.1f}", ratio)


def main() -> None:
    """Measure, and write the table."""
    header = ("model", "bytes, computed", "bytes, constant", "us, computed", "us, constant", "ratio")
    fill_page("quantization.md", {"reshape": table(header, rows(load_dataset("mnist")))})


if __name__ == "__main__":
    main()
