"""Why a quantized file does not pass: its worst layers, what to try, and whether other calibration images matter."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from oddeven.export.activations import READERS, activations
from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.saturation import layer_name
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.parity.check import FAIL
from oddeven.runtime.verify.report import FileReport, LayerError, Stability

WORST = 5
IMAGES = 100


def explain_failure(report: FileReport, path: Path, source: Conversion, images: Pixels) -> FileReport:
    """`report` on the file `path` with its worst layers and what to try next, where it fails.

    An INCONCLUSIVE file lacks test images, and one whose reference ranks the labels the wrong way round another
    reference, as their checks say.

    Args:
        report, path: of a file made from `source`.
        source: its float file of the same kind is made for the comparison.
        images: uint8 (N, H, W, C), as the model takes them.
    """
    if report.verdict != FAIL or any(check.name == "reference" for check in report.all_checks):
        return report
    row = FORMATS[report.format]
    layers = worst_layers(path, source, images[:IMAGES]) if row.calibrated and path.suffix in READERS else ()
    where = f"Most of its error arises in {layers[0].layer} ({layers[0].error:.0%}). " if layers else ""
    return replace(report, layers=layers, advice=where + row.advice)


def worst_layers(path: Path, source: Conversion, images: Pixels) -> tuple[LayerError, ...]:
    """The layers of the quantized file `path` where most of its error arises, the worst first.

    That is where the error rises most from one layer to the next: after it, all layers are wrong. The files
    themselves are run: TensorFlow's own debugger quantizes anew, onnxruntime's loses the channels.
    """
    with tempfile.TemporaryDirectory() as scratch:
        float_path = Path(scratch, f"float{path.suffix}")
        float_path.write_bytes(FORMATS[f"{path.suffix[1:]}-float32"].convert(source))
        real, quantized = activations(float_path, images), activations(path, images)
    errors: dict[str, float] = {}
    for tensor, x in real.items():
        if tensor in quantized and (layer := layer_name(tensor)):
            errors[layer] = max(errors.get(layer, 0.0), _relative_error(x, quantized[tensor]))
    found = [LayerError(layer, error) for layer, error in errors.items()]
    before = {this: last.error for last, this in pairwise(found)}
    return tuple(sorted(found, key=lambda this: before.get(this, 0.0) - this.error)[:WORST])


def measure_stability(source: Conversion, name: str, draws: tuple[Pixels, Pixels], images: Pixels) -> Stability:
    """Quantize `source` once from each of two disjoint `draws`, and compare the predictions of the two files.

    Where they differ much, the draws are too small to set the quantized ranges.

    Args:
        source: its own calibration images are not used.
        name: of a calibrated format, in `FORMATS`.
        draws: twice uint8 (N, H, W, C), as `disjoint_draws` gives them.
        images: uint8 (N, H, W, C), of the validation split, since what is learnt here may set the calibration.
    """
    spec, row, probabilities = source.spec, FORMATS[name], []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, row.file_name(spec.name))
        for draw in draws:
            path.write_bytes(row.convert(replace(source, calibration=to_float(draw, spec.input))))
            with Classifier.load(path, row.engine) as classifier:
                probabilities.append(classifier.probabilities(images))
    one, other = probabilities
    differing = int(((one > spec.threshold) != (other > spec.threshold)).sum())
    return Stability(spec.name, name, len(draws[0]), len(images), differing, float(np.abs(one - other).max()))


def _relative_error(x: Array, y: Array) -> float:
    """Root mean square of `y - x` over that of `x`, both (..., channels), as the mean over the channels that are used.

    Channel by channel, because one large channel that stretches the range drowns the others and hides it.
    """
    axes = tuple(range(x.ndim - 1))
    size, error = np.sqrt(np.mean(x**2, axes)), np.sqrt(np.mean((y - x) ** 2, axes))
    used = size > 0
    return float(np.mean(error[used] / size[used])) if used.any() else 0.0
