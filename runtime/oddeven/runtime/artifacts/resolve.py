"""What a model name, file or folder given by a user means: the one rule for which file is taken."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.engines.registry import AUTO, ENGINES, automatic
from oddeven.runtime.errors import ModelError, UsageError, choose
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.spec import model_name

MODELS = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "deep_cnn"
PREFERRED = ("int8", "dynamic", "float16", "float32", "int16x8")  # precisions, the fastest on most devices first


@dataclass(frozen=True)
class Candidate:
    """A model file that may be taken.

    Attributes:
        precision, verdict: as the manifest of its artifact folder has them; "" for a file that no manifest lists.
    """

    path: Path
    precision: str = ""
    verdict: str = ""

    @property
    def readable(self) -> bool:
        """Whether an engine installed here reads such files unasked."""
        return bool(automatic(self.path))

    def present(self) -> Candidate:
        """This one, if the file is there (ModelError): a folder may have been copied without all that it lists."""
        if not self.path.exists():
            raise ModelError(
                f"There is no {self.path}, which its manifest lists; copy it too, or export the model again."
            )
        return self


def bundled() -> dict[str, Path]:
    """The models inside this package, by name."""
    return {model_name(path): path for path in sorted(MODELS.glob("*.tflite"))}


def resolve(model: str | Path | None) -> list[Candidate]:
    """All model files that `model` means.

    A path that exists wins over the bundled model of that name. A file means itself. A folder means what the manifests
    in it or directly below it list or, without a manifest, every model file at any depth. None means the bundled
    `DEFAULT_MODEL`.

    Raises:
        UsageError: there is neither such a path nor such a bundled model.
        ModelError: the folder holds no model file, or its manifest is damaged.
    """
    known = bundled()
    if model is None:
        return [Candidate(known[DEFAULT_MODEL])]
    if os.path.isdir(model):
        return _in_folder(Path(model))
    if os.path.exists(model):
        return [Candidate(Path(model))]
    if str(model) in known:
        return [Candidate(known[str(model)])]
    raise UsageError(f"There is neither a file nor a bundled model {str(model)!r}; bundled are {', '.join(known)}.")


def readable(candidates: list[Candidate], named: str | None, engine: str = AUTO) -> list[Candidate]:
    """Those of the files that `named` means which `engine`, or one installed here, reads; one alone is always taken.

    Raises:
        UsageError: no engine has that name, or it reads none of them.
        ModelError: no engine installed here reads one, or one that a manifest lists is not there.
    """
    if engine != AUTO:
        choose("engine", engine, ENGINES)
    fitting = [file for file in candidates if (file.readable if engine == AUTO else ENGINES[engine].reads(file.path))]
    found = [file.present() for file in (candidates if len(candidates) == 1 else fitting)]
    if not found and engine != AUTO:
        raise UsageError(f"{named} holds no model file that the engine {engine} reads.")
    if not found:
        raise ModelError(f"{named} holds no model file that an engine installed here reads.")
    return found


def locate(model: str | Path | None) -> Path:
    """The one file to use of those that `model` means.

    In an artifact folder it is the first file, in the order of `PREFERRED`, that passed the gate when it was exported
    and that an engine installed here reads.

    Raises:
        UsageError, ModelError: as `resolve`.
        UsageError: the folder holds several models, or several files and no manifest.
        ModelError: no file in the folder passed the gate and can be read here, or the one to take is not there.
    """
    candidates = resolve(model)
    if not any(file.verdict for file in candidates):
        if len(candidates) > 1:
            listed = ", ".join(str(file.path) for file in candidates)
            raise UsageError(f"{model} has no manifest that says which of its files to take; name one: {listed}.")
        return candidates[0].path
    check_one_model(candidates, str(model))
    usable = [file for file in candidates if file.verdict == PASS and file.readable]
    if not usable:
        raise ModelError(f"{model} holds no file that passed the gate and that an engine installed here reads.")
    return min(usable, key=lambda file: PREFERRED.index(file.precision)).present().path


def check_one_model(candidates: list[Candidate], named: str) -> None:
    """Refuse files of several models where one is wanted (UsageError)."""
    homes = sorted({str(file.path.parent) for file in candidates})
    if len(homes) > 1:
        raise UsageError(f"{named} holds several models; name one: {', '.join(homes)}.")


def _in_folder(folder: Path) -> list[Candidate]:
    from oddeven.runtime.artifacts.manifest import find_artifacts, load_manifest

    try:
        homes = find_artifacts(folder)
    except ModelError:
        suffixes = tuple(row.suffix for row in ENGINES.values() if not row.by_name)
        loose = [path for path in sorted(folder.rglob("*")) if path.name.endswith(suffixes) and os.path.isfile(path)]
        if not loose:
            raise
        return [Candidate(path) for path in loose]
    return [
        Candidate(home / record.file, record.precision, record.parity.verdict)
        for home in homes
        for record in load_manifest(home).files
    ]
