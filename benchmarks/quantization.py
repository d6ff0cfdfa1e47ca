"""Try ways to quantize the shipped models and fill the tables of docs/quantization.md.

    python benchmarks/quantization.py

Every variant is judged by the project's own parity. What to keep is read from the validation column; the test columns
say what it then costs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
from shared import MODELS, ROOT, fill_page, table

from oddeven.export import sigmoid, tflite
from oddeven.export.calibration import DEFAULT_SIZE, draw_calibration
from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_features, cpu_name
from oddeven.runtime.engines.registry import AUTO
from oddeven.runtime.engines.saturation import overflows
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.parity.compare import Parity
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.table import shown
from oddeven.runtime.verify.evaluate import measure
from oddeven.train.data.dataset import Dataset, Split
from oddeven.train.data.registry import load_dataset

ELSEWHERE = 2000  # test images under emulation
BATCH = 100  # that of tests/device/plain.py, since the ranges of a dynamic file follow the batch
HASWELL = ("qemu-x86_64-static", "-cpu", "Haswell")  # a CPU with AVX2 and without VNNI
SIZES = (32, 100, 500, 2000)
SEEDS = (0, 1, 2)
HEADER = ("format", "variant", "validation agreement", "test agreement", "accuracy", "drop pp", "max shift",
          "mean shift", "verdict")  # fmt: skip
CPU_HEADER = ("model", "format", "variant", "pairs that can overflow", "agreement", "drop pp", "largest difference")


@dataclass(frozen=True)
class Variant:
    """What is changed of the defaults: of the source, or, by a patch, of how a converter calls its library."""

    format: str
    name: str
    change: Callable[[Conversion], Conversion] = lambda source: source
    patch: Callable[[], AbstractContextManager[object]] = nullcontext


def variants(data: Dataset, hardest: npt.NDArray[np.float32]) -> Iterator[list[Variant]]:
    """Groups; the worst of each makes a row."""
    for name, row in FORMATS.items():
        if row.engine == AUTO and not row.limits:  # a file for another toolkit holds the same numbers as tflite-int8
            yield [Variant(name, "**as exported**")]
    for name in ("tflite-int8", "onnx-int8"):
        for size in SIZES:
            draws = [to_float(draw_calibration(data, size, seed)[0], data.input) for seed in SEEDS]
            yield [
                Variant(name, f"{size} images, worst of {len(SEEDS)} draws", partial(replace, calibration=images))
                for images in draws
            ]
        yield [Variant(name, f"the {DEFAULT_SIZE} images nearest to 0.5", partial(replace, calibration=hardest))]
    yield [Variant("tflite-int8", "float ends", partial(replace, float_io=True))]
    yield [Variant("tflite-int8", "weights per tensor", patch=partial(_tflite, _experimental_disable_per_channel=True))]
    yield [Variant("tflite-int8", "no black-and-white image first", patch=_plain_representative)]
    yield [Variant("tflite-int8", "the sum as calibrated", patch=_unrefined)]
    yield [Variant("tflite-int8", "the sum cut, not moved", patch=_unmoved)]
    yield from ([variant] for variant in PORTABLE[1:])
    per_tensor = partial(_onnx, per_channel=False, reduce_range=True, extra_options={})
    yield [Variant("onnx-int8", "7-bit weights per tensor", patch=per_tensor)]
    yield [Variant("onnx-int8", "last layer quantized as well", patch=partial(_onnx, nodes_to_exclude=[]))]
    for method in ("Entropy", "Percentile"):
        yield [Variant("onnx-int8", f"{method.lower()} calibration", patch=partial(_onnx, calibrate_method=method))]


KINDS = {"calibrate_method": "CalibrationMethod", "activation_type": "QuantType", "weight_type": "QuantType"}


def _onnx(function: str = "quantize_static", **changes: object) -> AbstractContextManager[object]:
    """That function of onnxruntime's with some arguments changed."""
    from onnxruntime import quantization

    for name, kinds in KINDS.items():
        if name in changes:
            changes[name] = getattr(quantization, kinds)[str(changes[name])]
    original = getattr(quantization, function)

    def changed(*positional: object, **named: object) -> None:
        original(*positional, **{**named, **changes})

    return mock.patch.object(quantization, function, changed)


# How 8 bits can be multiplied: the first is the default.
PORTABLE = (
    Variant("onnx-int8", "no pair overflows"),
    Variant("onnx-int8", "full range, U8S8", partial(replace, full_range=True)),
    Variant(
        "onnx-int8", "full range, S8S8", partial(replace, full_range=True), partial(_onnx, activation_type="QInt8")
    ),
    Variant("onnx-int8", "full range, U8U8", patch=partial(_onnx, weight_type="QUInt8", extra_options={})),
    Variant("onnx-int8", "7-bit weights", patch=partial(_onnx, reduce_range=True, extra_options={})),
    Variant("onnx-dynamic", "full range, U8U8"),
    Variant("onnx-dynamic", "7-bit weights", patch=partial(_onnx, "quantize_dynamic", reduce_range=True)),
)


def _tflite(**attributes: object) -> AbstractContextManager[object]:
    """TensorFlow's converter with some attributes set."""
    import tensorflow as tf

    original = tf.lite.TFLiteConverter.from_saved_model

    def changed(*positional: object, **named: object) -> object:
        converter = original(*positional, **named)
        vars(converter).update(attributes)
        return converter

    return mock.patch.object(tf.lite.TFLiteConverter, "from_saved_model", changed)


def _plain_representative() -> AbstractContextManager[object]:
    """The calibration images alone."""

    def alone(source: Conversion) -> Callable[[], Iterator[list[npt.NDArray[np.float32]]]]:
        return lambda: ([image[np.newaxis]] for image in source.calibration)

    return mock.patch.object(tflite, "representative", alone)


def _unrefined() -> AbstractContextManager[object]:
    """The sum before the sigmoid with the range that the converter gives it."""
    return mock.patch.object(tflite, "refine")


def _unmoved() -> AbstractContextManager[object]:
    """That sum rounded as it comes."""
    return mock.patch.object(sigmoid, "_to_half_level", return_value=0.0)


def shipped(model: str, data: Dataset) -> tuple[Conversion, Callable[[Split], Reference]]:
    """The shipped Keras `model` with the default calibration images, and the function that predicts a split by it."""
    import keras

    keras.backend.clear_session()
    network, spec = load_keras_model(ROOT / "train" / "models" / f"{model}.keras")

    def known(split: Split) -> Reference:
        found, _ = network.predict(to_float(split.images, data.input), batch_size=1000, verbose=0)
        return Reference(split.images, split.labels, split.slices, found[:, 0], data.sha256)

    return Conversion(network, spec, to_float(draw_calibration(data)[0], data.input)), known


def measured(model: str, data: Dataset) -> Iterator[tuple[object, ...]]:
    """A table row for every group of variants of `model`."""
    defaults, known = shipped(model, data)
    validation, test = known(data.validation), known(data.test)
    nearest = np.argsort(np.abs(known(data.train).probabilities - 0.5), kind="stable")[:DEFAULT_SIZE]
    for group in variants(data, to_float(data.train.images[nearest], data.input)):
        found = [judge(variant, defaults, validation, test) for variant in group]
        before, after = min(found, key=lambda pair: pair[1].agreement)
        yield (
            group[0].format,
            group[0].name,
            f"{before.agreement:.2%}",
            f"{after.agreement:.2%}",
            shown(after.accuracy, ".4f"),
            shown(after.drop_pp, "+.2f"),
            f"{after.max_shift:.1e}",
            f"{after.mean_shift:.1e}",
            after.verdict,
        )


def judge(variant: Variant, source: Conversion, validation: Reference, test: Reference) -> tuple[Parity, Parity]:
    """How the file that `variant` makes compares with Keras on each split."""
    row = FORMATS[variant.format]
    changed = replace(variant.change(source), spec=replace(source.spec, precision=row.precision))
    with tempfile.TemporaryDirectory() as scratch, variant.patch():
        path = Path(scratch) / row.file_name(source.spec.name)
        path.write_bytes(row.convert(changed))
        with Classifier.load(path) as classifier:
            before, after = (
                measure(classifier.probabilities(split.images), classifier.spec, split, Policy())
                for split in (validation, test)
            )
            return before, after


def without_vnni() -> tuple[str, ...]:
    """The command that starts Python on a CPU with AVX2 and without VNNI: empty where this is one, else an emulator."""
    return () if set(cpu_features()) == {"avx2"} else HASWELL


def elsewhere(model: str, data: Dataset) -> Iterator[tuple[object, ...]]:
    """A row for each way to multiply 8 bits, as a plain session predicts on a CPU with AVX2 and without VNNI."""
    source, known = shipped(model, data)
    test = known(data.test.take(slice(ELSEWHERE if without_vnni() else None)))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "variant.onnx"
        np.save(f"{path}.npy", to_float(test.images, data.input))
        for variant in PORTABLE:
            with variant.patch():
                path.write_bytes(FORMATS[variant.format].convert(variant.change(source)))
            plain = _plainly(path)
            p = measure(plain, source.spec, test, Policy())
            can = sum(overflow.pairs for overflow in overflows(path))
            with Classifier.load(path) as classifier:
                batches = np.split(test.images, range(BATCH, len(test.images), BATCH))
                ours = np.concatenate([classifier.probabilities(batch) for batch in batches])
            yield (
                model, variant.format, variant.name, f"{can:,}", f"{p.agreement:.2%}", f"{p.drop_pp:+.2f}",
                f"{np.abs(plain - ours).max():.1e}",
            )  # fmt: skip


def _plainly(path: Path) -> npt.NDArray[np.float32]:
    """What a plain session predicts with the file `path` on a CPU with AVX2 and without VNNI."""
    out = path.with_suffix(".npz")
    command = [*without_vnni(), sys.executable, ROOT / "tests" / "device" / "plain.py", out, path]
    subprocess.run(list(map(str, command)), check=True, stderr=subprocess.DEVNULL)
    with np.load(out) as file:
        plain: npt.NDArray[np.float32] = file[str(path)][:, 0]
    return plain


def cpus(rows: list[tuple[object, ...]]) -> str:
    """Where the rows of `elsewhere` were predicted, and the rows."""
    emulator = " ".join(without_vnni())
    where = f"an emulated CPU (`{emulator}`)" if emulator else "a CPU with AVX2 and without VNNI"
    count = f"the first {ELSEWHERE:,}" if emulator else "all"
    here = f"{cpu_name()} ({', '.join(cpu_features())})"
    made = f"A plain session predicts {count} test images on {where}, oddeven on {here}."
    return f"{made}\n\n{table(CPU_HEADER, rows)}"


def main() -> None:
    """Measure, and write the page's tables."""
    task = load_dataset("mnist")
    elsewhere_too = cpus([row for name in MODELS for row in elsewhere(name, task)])
    tables = (f"## {name}\n\n{table(HEADER, measured(name, task))}" for name in MODELS)
    fill_page("quantization.md", {"cpus": elsewhere_too, "variants": "\n\n".join(tables)})


if __name__ == "__main__":
    main()
