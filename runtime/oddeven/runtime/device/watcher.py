"""Classify each new image in a folder exactly once, after its write has finished."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.journal import Journal, Key
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.sources import is_image_name
from oddeven.runtime.prediction import Prediction, writable

UNREADABLE = "unreadable"
SETTLED_SECONDS = 1.0  # unchanged for this long, an image counts as completely written
GIVE_UP_SECONDS = 30.0  # unchanged for this long and still unreadable, it counts as broken
IDLE_PER_SCAN = 50.0  # scanning takes at most a fiftieth of a core, however full the folder is


@dataclass(frozen=True)
class PendingFile:
    """An image that is not classified yet, and since when, by `time.monotonic`, it has had this size."""

    path: Path
    size_bytes: int
    since: float


def watch_folder(
    folder: Path, journal: Journal, classifier: Classifier, interval: float, once: bool
) -> Iterator[tuple[Path, Prediction]]:
    """Classify each image that appears in `folder`, not below it, and yield the prediction when it is in `journal`.

    An image that is overwritten counts as new, unless it keeps its time of writing. Hidden files are ignored.

    Args:
        interval: seconds between two scans of the folder.
        once: end when every image in the folder is classified.

    Raises:
        DataError: the folder cannot be read.
        OutputError: as `Journal.add`.
    """
    waiting: dict[Key, PendingFile] | None = None
    while True:
        start = time.monotonic()
        waiting = _scan(folder, journal.done, waiting)
        pause = max(interval, IDLE_PER_SCAN * (time.monotonic() - start))
        due = {key: file for key, file in waiting.items() if start - file.since >= SETTLED_SECONDS}
        for key, prediction in _classify(classifier, due):
            journal.add(key, prediction)
            yield due[key].path, prediction
        if due:
            journal.sync()
        if once and waiting.keys() <= journal.done:
            return
        time.sleep(pause)


def _scan(folder: Path, done: set[Key], before: Mapping[Key, PendingFile] | None) -> dict[Key, PendingFile]:
    """The images in `folder` that are not `done`, oldest first; one whose size changed since `before` starts anew.

    What is there at the first scan, `before` which there is None, is as old as its time of writing says. What comes
    later is new, whatever the clock of the machine that writes it says.
    """
    now, clock = time.monotonic(), time.time()
    found: dict[Key, PendingFile] = {}
    try:
        entries = [entry for entry in os.scandir(folder) if is_image_name(entry.name)]
    except OSError as error:
        raise DataError(f"Cannot watch the folder {folder}: {error.strerror}.") from error
    for entry in entries:
        try:
            state, is_file = entry.stat(), entry.is_file()
        except OSError:
            continue  # it has gone meanwhile, or is a broken link
        key = writable(entry.name), state.st_mtime_ns
        if key in done or not is_file:
            continue
        known = before.get(key) if before else None
        if known is None or known.size_bytes != state.st_size:
            age = max(0.0, clock - state.st_mtime) if before is None else 0.0
            known = PendingFile(Path(entry.path), state.st_size, now - age)
        found[key] = known
    return dict(sorted(found.items(), key=lambda item: item[0][1]))


def _classify(classifier: Classifier, due: Mapping[Key, PendingFile]) -> Iterator[tuple[Key, Prediction]]:
    """The predictions for what is `due`, without images that have changed meanwhile or may still become readable."""
    paths = [file.path for file in due.values()]
    for (key, file), outcome in zip(due.items(), classifier.predict_batch(paths, errors="return"), strict=True):
        try:
            state = file.path.stat()
        except OSError:
            continue  # it has gone
        if (state.st_mtime_ns, state.st_size) != (key[1], file.size_bytes):
            continue
        if not isinstance(outcome, DataError):
            yield key, outcome
        elif time.monotonic() - file.since >= GIVE_UP_SECONDS:
            yield key, Prediction(UNREADABLE, 0.0, {}, str(outcome))
