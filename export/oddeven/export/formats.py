"""The export formats, as rows of one table. Adding one is a function in the file of its family, and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from oddeven.export import c, mediapipe, onnx, tflite
from oddeven.export.conversion import Conversion
from oddeven.runtime.engines.registry import AUTO
from oddeven.runtime.spec import ModelSpec


@dataclass(frozen=True)
class Format:
    """A row.

    Attributes:
        converter: from a model to the bytes of a file with the model's spec inside.
        suffix, precision: of the file's name.
        advice: what to try where a file of this format does not pass.
        calibrated: whether it looks at the calibration images.
        default: whether it is made when no format is asked for.
        limits: for the form of another toolkit, whose threshold is 0.5: what of a spec it cannot carry.
        engine: proves the file.
    """

    converter: Callable[[Conversion], bytes]
    suffix: str
    precision: str
    advice: str
    calibrated: bool = False
    default: bool = True
    limits: Callable[[ModelSpec], tuple[str, ...]] | None = None
    engine: str = AUTO

    def file_name(self, model: str) -> str:
        """`<model>.<precision><suffix>`."""
        return f"{model}.{self.precision}{self.suffix}"

    def convert(self, source: Conversion) -> bytes:
        """The bytes of a file whose spec names this precision, and the calibration only if it was looked at."""
        calibration = source.spec.calibration if self.calibrated else None
        spec = replace(source.spec, precision=self.precision, calibration=calibration)
        return self.converter(replace(source, spec=spec))


FLOAT = "The converter changed the model; compare the package versions with those of an export that passed."
HALF = "Something leaves float16's range, 6e-5 to 65504; take the float32 file."
DYNAMIC = "Its ranges follow each image; try the calibrated int8 file, then float16."
MORE = "Try more calibration images (--calibration-size, --calibration-check)"
INT8_TFLITE = f"{MORE}, then --format tflite-int16x8 with its finer activations, then tflite-float16."
INT8_ONNX = f"{MORE}, --full-range where all CPUs have VNNI or dot product, then onnx-float16."
C = "It computes what the tflite-int8 file does; export that as well to see its worst layers."
INT16X8 = f"{MORE}, then tflite-float16."

# int16x8 is made on request only: TFLite runs it on reference kernels, 20 to 90 times slower than int8. So is the file
# for phones.
FORMATS: Mapping[str, Format] = {
    "tflite-float32": Format(tflite.float32, ".tflite", "float32", FLOAT),
    "tflite-float16": Format(tflite.float16, ".tflite", "float16", HALF),
    "tflite-dynamic": Format(tflite.dynamic, ".tflite", "dynamic", DYNAMIC),
    "tflite-int8": Format(tflite.int8, ".tflite", "int8", INT8_TFLITE, calibrated=True),
    "tflite-int16x8": Format(tflite.int16x8, ".tflite", "int16x8", INT16X8, calibrated=True, default=False),
    "mediapipe": Format(
        mediapipe.mediapipe,
        ".mediapipe.tflite",
        "int8",
        INT8_TFLITE,
        calibrated=True,
        default=False,
        limits=mediapipe.limits,
    ),
    "onnx-float32": Format(onnx.float32, ".onnx", "float32", FLOAT),
    "onnx-float16": Format(onnx.float16, ".onnx", "float16", HALF),
    "onnx-dynamic": Format(onnx.dynamic, ".onnx", "dynamic", DYNAMIC),
    "onnx-int8": Format(onnx.int8, ".onnx", "int8", INT8_ONNX, calibrated=True),
    "c": Format(c.convert, ".zip", "int8", C, calibrated=True, default=False, engine="c"),
}
DEFAULTS = tuple(name for name, row in FORMATS.items() if row.default)
