"""Try ways to quantize the shipped models and write docs/quantization.md.

    python benchmarks/quantization.py

Every variant is judged on the 10,000 test images by the project's own parity, which is the point of the page: what a
choice costs. The defaults were chosen by the validation split and by size; nothing is tuned on these figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oddeven.export import keras_model
from oddeven.export.calibration import draw
from oddeven.export.formats import FORMATS, Source
from oddeven.runtime import artifact
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.parity import Policy
from oddeven.runtime.reference import Reference
from oddeven.runtime.table import render
from oddeven.runtime.tensor import Pixels
from oddeven.train import dataset as datasets
from oddeven.train.dataset import Dataset

ROOT = Path(__file__).parents[1]
SIZES = (32, 100, 500, 2000)
SEEDS = (0, 1, 2)


def variants(data: Dataset) -> Iterator[tuple[str, str, Callable[[Source], Source]]]:
    """Name, format and what is changed of the defaults."""
    for name in FORMATS:
        yield "as exported", name, lambda source: source
    for name in ("tflite-int8", "onnx-int8"):
        for size in SIZES:
            for seed in SEEDS:
                pictures = _real(draw(data, size, seed)[0])
                yield f"{size} pictures, seed {seed}", name, partial(dataclasses.replace, calibration=pictures)
    yield "float ends", "tflite-int8", partial(dataclasses.replace, float_io=True)
    yield "7-bit weights", "onnx-int8", partial(dataclasses.replace, reduce_range=True)


def _real(pixels: Pixels) -> npt.NDArray[np.float32]:
    """MNIST's pixels as its models take them."""
    return pixels.astype(np.float32) / np.float32(255)


def measured(model: str, data: Dataset) -> Iterator[tuple[object, ...]]:
    """A table row for every variant of `model`."""
    import keras

    keras.backend.clear_session()
    network, spec = keras_model.load(ROOT / "train" / "models" / f"{model}.keras")
    real = _real(data.test.images)
    truth = Reference(
        data.test.images, data.test.labels, data.test.slices, network.predict(real, batch_size=1000, verbose=0)[:, 0]
    )
    defaults = _real(draw(data)[0])
    for name, kind, change in variants(data):
        row = FORMATS[kind]
        source = change(Source(network, dataclasses.replace(spec, precision=row.precision), defaults))
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / row.file_name(model)
            path.write_bytes(row.converter()(source))
            with Classifier.load(path) as classifier:
                parity = artifact.measure(classifier, truth, Policy())
        yield (
            model,
            kind,
            name,
            f"{parity.file.accuracy:.4f}",
            f"{parity.drop_pp:+.2f}",
            f"{parity.agreement:.2%}",
            f"{parity.max_shift:.1e}",
            f"{parity.mean_shift:.1e}",
            parity.verdict,
        )


def page(rows: list[tuple[object, ...]]) -> str:
    """docs/quantization.md as text."""
    header = ("model", "format", "variant", "accuracy", "drop pp", "agreement", "max shift", "mean shift", "verdict")
    return "\n".join(
        [
            "# What quantization costs",
            "",
            "Made by `python benchmarks/quantization.py`: every format and variant of the shipped models against Keras",
            "on the 10,000 test images. A shift is a difference in probability. `as exported` is the default: 500",
            "calibration pictures, stratified, seed 0; int8 weights per channel; the extremes of the value range shown",
            "to TFLite's converter first, so that pixels 0 and 255 are exact and a pixel is its own quantized value.",
            "",
            render(header, rows, markdown=True),
            "",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "quantization.md")
    options = parser.parse_args()
    task = datasets.load("mnist")
    options.out.write_text(page([row for model in ("mlp", "cnn", "deep_cnn") for row in measured(model, task)]))
