"""Whether the calibration pictures are enough: calibrated on others, a file should answer the same."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.verify.report import Stability


def check_stability(source: Conversion, name: str, draws: tuple[Pixels, Pixels], pictures: Pixels) -> Stability:
    """Quantize `source` once from each of two disjoint `draws` and compare what the two files answer.

    Args:
        source: its own calibration pictures are not used.
        name: of a calibrated format, in `FORMATS`.
        draws: twice uint8 (N, H, W, C), as `calibration.halves` gives them.
        pictures: uint8 (N, H, W, C), of the validation split: what is learnt here may set the calibration.
    """
    row, answers = FORMATS[name], []
    spec = dataclasses.replace(source.spec, precision=row.precision)
    for draw in draws:
        content = row.convert(dataclasses.replace(source, spec=spec, calibration=to_float(draw, spec.input)))
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / row.file_name(spec.name)
            path.write_bytes(content)
            with Classifier.load(path) as classifier:
                answers.append(classifier.probabilities(pictures))
    one, other = answers
    differing = int(((one > spec.threshold) != (other > spec.threshold)).sum())
    return Stability(spec.name, name, len(draws[0]), len(pictures), differing, float(np.abs(one - other).max()))
