"""`oddeven attach-spec`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from oddeven.runtime.cli.options import PATH
from oddeven.runtime.engines.contract import Engine
from oddeven.runtime.engines.metadata import attach_to_onnx, attach_to_tflite, read_model
from oddeven.runtime.engines.quantization import encoder
from oddeven.runtime.engines.registry import check_familiarity, holds_code, open_engine
from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.files import write
from oddeven.runtime.images.image_folder import load_image_folder
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance, model_name
from oddeven.runtime.value_range import RANGES, balanced_sample, find_range, two_labels

PLAIN = [name for name, row in RANGES.items() if row.plain]  # a finished file cannot be changed for the others


@click.command()
@click.argument("model", type=PATH)
@click.option("--labels", required=True, metavar="A,B", help="The labels 0 and 1.")
@click.option("--data", type=PATH, help="Labelled images that the file must predict.")
@click.option(
    "--range",
    "range_name",
    type=click.Choice(PLAIN),
    help="The values that the model expects for pixels.  [default: found out with --data]",
)
@click.option(
    "--fit",
    type=click.Choice(["squash", "fit-shortest", "fit-longest", "raw"]),
    default="squash",
    show_default=True,
    help="How images are brought to the model's size.",
)
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Predict label 1 above it.")
@click.option("--out", type=PATH, help="Where to write the file.  [default: in place]")
def command(
    model: Path, labels: str, data: Path | None, range_name: str | None, fit: str, threshold: float, out: Path | None
) -> None:
    """Write into MODEL, a .tflite or .onnx file from elsewhere, what its labels are and which images it takes.

    After that predict, verify, bench, serve and the like take it as any file that oddeven exported. Only self-tests,
    and so bundles, need the golden predictions that an export makes.
    """
    if range_name is None and data is None:
        raise UsageError("Say which values the model expects with --range, or give labelled images with --data.")
    if holds_code(model):
        raise ModelError(f"{model}: expected a .tflite or .onnx file.")
    if out and out.suffix != model.suffix:
        raise UsageError(f"--out {out} does not end in {model.suffix}, as {model} does.")
    engine = open_engine(model)
    try:
        if engine.spec:
            raise UsageError(f"{model} carries a spec already, with the labels {' and '.join(engine.spec.labels)}.")
        spec = _describe(model, engine, two_labels(labels), range_name or PLAIN[0], fit, threshold)
        check_familiarity(model, engine, spec)
        if data:
            spec = _fitting(model, engine, spec, data, range_name)
    finally:
        engine.close()
    attach = attach_to_onnx if model.suffix == ".onnx" else attach_to_tflite
    write(out or model, attach(read_model(model).content, spec))
    click.echo(f"{out or model}: labels {' and '.join(spec.labels)}, {spec.input.height}x{spec.input.width}")


def _describe(
    path: Path, engine: Engine, labels: tuple[str, str], range_name: str, fit: str, threshold: float
) -> ModelSpec:
    """The spec of an open file."""
    _, height, width, channels = engine.input.shape
    if channels not in {1, 3} or min(height, width) < 1:
        raise ModelError(
            f"{path} takes {engine.input.shape}; expected (N, height, width, 1 or 3). An .onnx file with its channels "
            "first is turned by: oddeven export"
        )
    precision = {"uint8": "int8", "int8": "int8", "int16": "int16x8"}.get(engine.input.dtype, "float32")
    values = RANGES[range_name]
    view = InputSpec(height, width, channels, values.low, values.high, preprocessing=fit)
    try:
        return ModelSpec(model_name(path), labels, view, Provenance("", "", "", 0, 0, {}), threshold, precision)
    except ValueError as error:
        raise UsageError(f"Not possible: {error}") from error


def _fitting(path: Path, engine: Engine, spec: ModelSpec, data: Path, range_name: str | None) -> ModelSpec:
    """`spec` with the value range under which the file predicts the images in `data`."""
    folder = load_image_folder(data, spec.labels, spec.input, max_bad=None)
    if folder.labels is None:
        raise DataError(f"{data} has no subfolders {' and '.join(spec.labels)}; give labelled images.")
    images, truth = balanced_sample(folder.images, folder.labels)

    def under(name: str) -> ModelSpec:
        return replace(spec, input=replace(spec.input, low=RANGES[name].low, high=RANGES[name].high))

    def predict(name: str) -> Any:
        encode = encoder(engine.input, under(name).input)
        return np.concatenate([engine.run(encode(image[np.newaxis])) for image in images])

    found, finding = find_range(str(path), PLAIN, range_name, predict, truth, spec.labels)
    click.echo(f"{path}: {finding}", err=True)
    return under(found)
