"""The models inside this package, and what a name, a file or a folder given as a model means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.engines.registry import ENGINES, installed
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.spec import model_name

MODELS = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "deep_cnn"
PREFERRED = ("int8", "dynamic", "float16", "float32", "int16x8")  # precisions, the fastest on most devices first


def bundled() -> dict[str, Path]:
    """The models inside this package, by name."""
    return {model_name(path): path for path in sorted(MODELS.glob("*.tflite"))}


@dataclass(frozen=True)
class Meant:
    """A model file that is meant.

    Attributes:
        precision, verdict: as the manifest of its artifact folder has them; "" for a file that no manifest lists.
    """

    path: Path
    precision: str = ""
    verdict: str = ""

    @property
    def readable(self) -> bool:
        """Whether an engine installed here reads such files."""
        return any(row.suffix == self.path.suffix and installed(name) for name, row in ENGINES.items())


def resolve(model: str | Path | None) -> list[Meant]:
    """The model files that `model` means.

    A path that exists wins over the bundled model of that name: a file stands for itself, a folder for what the
    manifests in or directly below it list, or, without a manifest, for all model files at any depth below it. None
    stands for the bundled `DEFAULT_MODEL`.

    Raises:
        UsageError: there is neither such a path nor such a bundled model.
        ModelError: the folder holds no model file, or its manifest is damaged.
    """
    known = bundled()
    if model is None:
        return [Meant(known[DEFAULT_MODEL])]
    if os.path.isdir(model):
        return _within(Path(model))
    if os.path.exists(model):
        return [Meant(Path(model))]
    if str(model) in known:
        return [Meant(known[str(model)])]
    raise UsageError(f"There is neither a file nor a bundled model {str(model)!r}; bundled are {', '.join(known)}.")


def locate(model: str | Path | None) -> Path:
    """The one file to use of what `model` means.

    Of a folder it is the first file in the order of `PREFERRED` that passed the gate when it was exported and that an
    engine installed here reads.

    Raises:
        UsageError, ModelError: as `resolve`.
        UsageError: the folder holds several models.
        ModelError: the folder holds no artifacts, or none that can be used here.
    """
    return _best(resolve(model), str(model))


def _within(folder: Path) -> list[Meant]:
    from oddeven.runtime.artifacts.manifest import find_artifacts, load_manifest

    try:
        homes = find_artifacts([folder])
    except ModelError:
        suffixes = {row.suffix for row in ENGINES.values()}
        loose = [Meant(path) for path in sorted(folder.rglob("*")) if path.suffix in suffixes and os.path.isfile(path)]
        if loose:
            return loose
        raise
    return [
        Meant(home / record.file, record.precision, record.parity.verdict)
        for home in homes
        for record in load_manifest(home).files
    ]


def _best(meant: list[Meant], named: str) -> Path:
    if not any(file.verdict for file in meant):
        if len(meant) > 1:
            listed = ", ".join(str(file.path) for file in meant)
            raise UsageError(f"{named} has no manifest that says which of its files to take; name one: {listed}.")
        return meant[0].path
    check_one_model(meant, named)
    fit = [file for file in meant if file.verdict == PASS and file.readable]
    if not fit:
        raise ModelError(f"{named} holds no file that passed the gate and that an engine installed here reads.")
    return min(fit, key=lambda file: PREFERRED.index(file.precision)).path


def check_one_model(meant: list[Meant], named: str) -> None:
    """Refuse files of several models where one is wanted.

    Raises:
        UsageError: they lie in several folders.
    """
    homes = sorted({str(file.path.parent) for file in meant})
    if len(homes) > 1:
        raise UsageError(f"{named} holds several models; name one: {', '.join(homes)}.")
