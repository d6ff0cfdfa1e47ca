"""What it gains that a TFLite file holds the shape of its flatten; fills the table of docs/runtime.md.

    python benchmarks/reshape.py

Each shipped model is converted to int8 twice, once as Keras traces it, which computes that shape for each batch. Both
files must give the same bytes for all test images. Then they take turns in one process, one image at a time. Two
minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from oddeven.export import conversion, tflite
from oddeven.export.calibration import DEFAULT_SIZE, draw_calibration
from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.table import render
from oddeven.train.data.dataset import Dataset
from oddeven.train.data.registry import load_dataset

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "runtime.md"
MODELS = ("mlp", "cnn", "deep_cnn")
BATCHES = (1, 7, 1000)
TURNS, CALLS = 100, 50
BEGIN, END = "<!-- reshape: by benchmarks/reshape.py -->\n", "\n<!-- end of reshape -->"


def converted(name: str, data: Dataset) -> tuple[bytes, bytes]:
    """The int8 file with the shape computed, and with it constant."""
    model, spec = load_keras_model(ROOT / "train" / "models" / f"{name}.keras")
    images, record = draw_calibration(data, DEFAULT_SIZE, 0)
    calibrated = replace(spec, calibration=record, precision="int8")
    source = conversion.Conversion(model, calibrated, to_float(images, spec.input))
    with mock.patch.object(conversion, "_with_constant_shapes", lambda model: model):
        computed = tflite.int8(source)
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
        times: dict[int, list[float]] = {0: [], 1: []}
        for interpreter in (computed, constant):
            predicted(interpreter, data.test.images[:1], 1)
        for _ in range(TURNS):
            for number, interpreter in enumerate((computed, constant)):
                start = time.perf_counter()
                for _ in range(CALLS):
                    interpreter.invoke()
                times[number].append((time.perf_counter() - start) / CALLS * 1e6)
        before, after = (float(np.min(times[number])) for number in times)
        yield name, len(files[0]), len(files[1]), f"{before:.1f}", f"{after:.1f}", f"{after / before:.3f}"


def main() -> None:
    """Measure, and write the table."""
    header = ("model", "bytes, computed", "bytes, constant", "us, computed", "us, constant", "ratio")
    table = render(header, list(rows(load_dataset("mnist", ROOT / "train" / "data" / "mnist.npz"))), markdown=True)
    text = PAGE.read_text()
    PAGE.write_text(text[: text.index(BEGIN) + len(BEGIN)] + table + text[text.index(END) :])


if __name__ == "__main__":
    main()
