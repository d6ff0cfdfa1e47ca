"""Which file to take to this machine, in one sentence a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from oddeven.runtime.check import PASS
from oddeven.runtime.report import FileReport


def recommend(files: tuple[FileReport, ...]) -> list[str]:
    """One sentence a model: its fastest file that passes, how much faster than float32, and any int8 file that is not.

    Args:
        files: of one or more models, measured on one machine.
    """
    return [_sentence(model, own) for model, own in by_model(files).items()]


def by_model(files: Sequence[FileReport]) -> dict[str, list[FileReport]]:
    """The files of each model, models and files in the order they came."""
    models: dict[str, list[FileReport]] = {}
    for file in files:
        models.setdefault(file.model, []).append(file)
    return models


def float32_of(file: FileReport, files: Sequence[FileReport]) -> FileReport | None:
    """The float32 file of the same model and kind (.tflite or .onnx), which may be `file` itself."""
    kind = file.model, PurePath(file.file).suffix, "float32"
    return next((other for other in files if (other.model, PurePath(other.file).suffix, other.precision) == kind), None)


def _sentence(model: str, files: Sequence[FileReport]) -> str:
    passing = [file for file in files if file.verdict == PASS]
    if passing:
        best = min(passing, key=_latency)
        advice = f"take {best.file}, at {best.latency_us:.1f} us the fastest file that passes{_compared(best, files)}"
    else:
        advice = f"no file passes (of {len(files)}), so none can be recommended"
    return f"{model}: {'; '.join([advice, *_slower(files)])}."


def _compared(best: FileReport, files: Sequence[FileReport]) -> str:
    """How fast `best` is beside the fastest float32 file, if there is one."""
    floats = [file for file in files if file.precision == "float32"]
    if not floats:
        return ""
    fastest = min(floats, key=_latency)
    if fastest is best:
        return " (no quantized file that passes is faster)"
    return f", {fastest.latency_us / best.latency_us:.2f} times as fast as {fastest.file}, the fastest float32 file"


def _slower(files: Sequence[FileReport]) -> list[str]:
    """A clause for each int8 file that takes longer than the float32 file of its kind."""
    pairs = [(file, float32_of(file, files)) for file in files if file.precision == "int8"]
    return [
        f"{file.file} is slower than {whole.file} here ({file.latency_us:.1f} us against {whole.latency_us:.1f} us)"
        for file, whole in pairs
        if whole and file.latency_us > whole.latency_us
    ]


def _latency(file: FileReport) -> float:
    return file.latency_us
