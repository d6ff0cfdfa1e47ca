"""The models inside this package, and what a name, a file or a folder given as a model means."""

from __future__ import annotations

from pathlib import Path

from oddeven.runtime.errors import UsageError

MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = "deep_cnn"


def bundled() -> dict[str, Path]:
    """The models inside this package, by name."""
    return {path.name.split(".")[0]: path for path in sorted(MODELS.glob("*.tflite"))}


def locate(model: str | Path) -> Path:
    """The file that `model`, a bundled name or a path, means.

    Raises:
        UsageError: there is neither.
    """
    known = bundled()
    if str(model) in known:
        return known[str(model)]
    if Path(model).is_file():
        return Path(model)
    raise UsageError(f"There is neither a bundled model nor a file {str(model)!r}; bundled are {', '.join(known)}.")
