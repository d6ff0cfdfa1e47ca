"""A training run's state after an epoch, as one file: weights, optimizer, history and the run's provenance.

Keras' BackupAndRestore keeps neither the history nor what early stopping has seen, does not know whose run it resumes,
and fails on a backup that a killed process left half-written.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from oddeven.runtime.files import DAMAGED, replacing
from oddeven.runtime.spec import Provenance

ENTRY = "oddeven-run.json"

History = dict[str, list[float]]
"""One value an epoch for each metric."""


def save_checkpoint(path: Path, model: Any, history: History, run: Provenance) -> None:
    """Write the state of the compiled `model` whole, or leave the file of the epoch before.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as partial:
        model.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(ENTRY, json.dumps({"run": asdict(run), "history": history}))


def restore_checkpoint(path: Path, model: Any, run: Provenance) -> History | None:
    """Put the weights and optimizer state that `run` was left with into `model`, and return its history.

    None, and `model` untouched, where there is no checkpoint or it is of another run. The optimizer object of
    `model` stays: Keras does not save which variables it excludes from weight decay.

    Args:
        path: of the checkpoint.
        model: compiled as `run` compiles it.
        run: the run to resume.
    """
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(ENTRY))
        if content["run"] != asdict(run):
            return None
        saved = keras.saving.load_model(path)
    except (*DAMAGED, LookupError, AttributeError):
        return None
    model.set_weights(saved.get_weights())
    model.optimizer.build(model.trainable_variables)
    for ours, theirs in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        ours.assign(theirs)
    return cast(History, content["history"])
