"""Which file to take to this machine, in one sentence for each model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter, le
from pathlib import PurePath

from oddeven.runtime.parity.check import PASS
from oddeven.runtime.verify.report import FileReport


def recommend(files: Sequence[FileReport]) -> list[str]:
    """For each model its fastest file that passes, how much faster than float32, and the int8 files that are slower.

    Args:
        files: of one or more models, measured on one machine.
    """
    return [_sentence(model, own) for model, own in by_model(files).items()]


def front(files: Sequence[FileReport]) -> list[FileReport]:
    """The files that pass and that no other one beats: the Pareto front of size, time and accuracy, the smallest first.

    Without labels their agreement with the reference counts.
    """
    passing = [file for file in files if file.verdict == PASS]
    return sorted((file for file in passing if not any(_beats(other, file) for other in passing)), key=_costs)


def advice(files: Sequence[FileReport]) -> str:
    """Which files of the `front` to take for what; at least one."""
    smallest, fastest, best = (min(files, key=lambda file: _costs(file)[place]).file for place in range(3))
    return (
        f"Take {smallest} where bytes count, {fastest} where time on such a machine counts, {best} for fewest errors."
    )


def _beats(other: FileReport, file: FileReport) -> bool:
    theirs, ours = _costs(other), _costs(file)
    return theirs != ours and all(map(le, theirs, ours))


def _costs(file: FileReport) -> tuple[float, float, float]:
    parity = file.parity
    return file.size_bytes, file.latency_us, 1 - (parity.agreement if parity.accuracy is None else parity.accuracy)


def titles(files: Sequence[FileReport]) -> list[str]:
    """The name to show each file's model by; where two folders hold a model of that name, with the folder."""
    places = [(file.model, str(PurePath(file.file).parent)) for file in files]
    names = Counter(name for name, _ in set(places))
    return [name if names[name] == 1 else f"{name} in {folder}" for name, folder in places]


def by_model(files: Sequence[FileReport]) -> dict[str, list[FileReport]]:
    """The files of each model by its title, in the order they came.

    Files of one title that were tested on different images are kept apart too.
    """
    groups: dict[tuple[str, str], list[FileReport]] = {}
    for title, file in zip(titles(files), files, strict=True):
        groups.setdefault((title, file.data_sha256), []).append(file)
    counts = Counter(title for title, _ in groups)
    return {title if counts[title] == 1 else f"{title}, data {data[:8]}": own for (title, data), own in groups.items()}


def float32_of(file: FileReport, files: Sequence[FileReport]) -> FileReport | None:
    """The float32 file of the same model, folder and suffix, which may be `file` itself."""

    def kind(of: FileReport) -> tuple[str, PurePath, str]:
        path = PurePath(of.file)
        return of.model, path.parent, path.suffix

    return next((other for other in files if other.precision == "float32" and kind(other) == kind(file)), None)


def _sentence(model: str, files: Sequence[FileReport]) -> str:
    latency = attrgetter("latency_us")
    passing = [file for file in files if file.verdict == PASS]
    floats = [file for file in files if file.precision == "float32"]
    parts = [f"no file passes (of {len(files)}), so none can be recommended"]
    if passing:
        best, fastest = min(passing, key=latency), min(floats, key=latency, default=None)
        gain = ""
        if fastest is best:
            gain = " (no quantized file that passes is faster)"
        elif fastest:
            ratio = fastest.latency_us / best.latency_us
            gain = f", {ratio:.2f} times as fast as {fastest.file}, the fastest float32 file"
        parts = [f"take {best.file}, at {best.latency_us:.1f} us the fastest file that passes{gain}"]
    for file in files:
        whole = float32_of(file, files)
        if file.precision == "int8" and whole and file.latency_us > whole.latency_us:
            times = f"{file.latency_us:.1f} us against {whole.latency_us:.1f} us"
            parts.append(f"{file.file} is slower than {whole.file} here ({times})")
    return f"{model}: {'; '.join(parts)}."
