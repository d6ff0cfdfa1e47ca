"""Which file to take to this machine, in one sentence a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from oddeven.runtime.parity.check import PASS
from oddeven.runtime.verify.report import FileReport


def recommend(files: tuple[FileReport, ...]) -> list[str]:
    """One sentence a model: its fastest file that passes, how much faster than float32, and any int8 file that is not.

    Args:
        files: of one or more models, measured on one machine.
    """
    return [_sentence(model, own) for model, own in by_model(files).items()]


def titles(files: Sequence[FileReport]) -> list[str]:
    """What to call the model of each file: by its name, and, where two folders hold one of that name, its folder."""
    places = [(file.model, str(PurePath(file.file).parent)) for file in files]
    names = Counter(name for name, _ in set(places))
    return [name if names[name] == 1 else f"{name} in {folder}" for name, folder in places]


def by_model(files: Sequence[FileReport]) -> dict[str, list[FileReport]]:
    """The files of each model by its title, models and files in the order they came.

    Files of one title that were asked about different pictures are kept apart too.
    """
    groups: dict[tuple[str, str], list[FileReport]] = {}
    for title, file in zip(titles(files), files, strict=True):
        groups.setdefault((title, file.data_sha256), []).append(file)
    counts = Counter(title for title, _ in groups)
    return {title if counts[title] == 1 else f"{title}, data {data[:8]}": own for (title, data), own in groups.items()}


def float32_of(file: FileReport, files: Sequence[FileReport]) -> FileReport | None:
    """The float32 file of the same model, folder and kind (.tflite or .onnx), which may be `file` itself."""
    whole = _kind(file)
    return next((other for other in files if other.precision == "float32" and _kind(other) == whole), None)


def _kind(file: FileReport) -> tuple[str, PurePath, str]:
    path = PurePath(file.file)
    return file.model, path.parent, path.suffix


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
