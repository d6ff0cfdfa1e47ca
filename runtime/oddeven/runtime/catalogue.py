"""The models inside this package, and what a name, a file or a folder given as a model means."""

from __future__ import annotations

from pathlib import Path

from oddeven.runtime.engines import ENGINES, installed
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.spec import model_name

MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = "deep_cnn"
PREFERRED = ("int8", "dynamic", "float16", "float32", "int16x8")  # precisions, the fastest on most devices first


def bundled() -> dict[str, Path]:
    """The models inside this package, by name."""
    return {model_name(path): path for path in sorted(MODELS.glob("*.tflite"))}


def locate(model: str | Path) -> Path:
    """The file that `model`, a bundled name, a path or an artifact folder, means.

    Of a folder it is the first file in the order of `PREFERRED` that passed the gate when it was exported and that an
    engine installed here reads.

    Raises:
        UsageError: there is neither, or the folder holds several models.
        ModelError: the folder holds no artifacts, or none that can be used here.
    """
    known = bundled()
    if str(model) in known:
        return known[str(model)]
    path = Path(model)
    if path.is_dir():
        return _best_of(path)
    if path.is_file():
        return path
    raise UsageError(f"There is neither a bundled model nor a file {str(model)!r}; bundled are {', '.join(known)}.")


def _best_of(folder: Path) -> Path:
    from oddeven.runtime import artifact  # needs more than finding a file does
    from oddeven.runtime.check import PASS

    (first, *others) = artifact.find([folder])
    if others:
        raise UsageError(f"{folder} holds several models; name one: {', '.join(map(str, [first, *others]))}.")
    readable = {row.suffix for name, row in ENGINES.items() if installed(name)}
    fit = [
        record
        for record in artifact.load_manifest(first).files
        if record.parity.verdict == PASS and Path(record.file).suffix in readable
    ]
    if not fit:
        raise ModelError(f"{first} holds no file that passed the gate and that an engine installed here reads.")
    return first / min(fit, key=lambda record: PREFERRED.index(record.precision)).file
