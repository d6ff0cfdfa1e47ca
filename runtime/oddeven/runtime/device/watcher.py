"""Each picture that appears in a folder, once it is whole, once."""

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
SETTLED_SECONDS = 1.0  # unchanged for so long, a picture is taken to be whole
GIVE_UP_SECONDS = 30.0  # unchanged for so long and still unreadable, it is taken to be broken
IDLE_PER_SCAN = 50.0  # looking at the folder takes at most a fiftieth of a core, however full it is


@dataclass(frozen=True)
class PendingFile:
    """A picture that has no answer yet: its file, its size, and since when, by `time.monotonic`, it is so."""

    path: Path
    size_bytes: int
    since: float


def watch_folder(
    folder: Path, journal: Journal, classifier: Classifier, interval: float, once: bool
) -> Iterator[tuple[str, Prediction]]:
    """Answer for each picture that appears in `folder`, not below it, and yield it when it is in the `journal`.

    A picture that is written anew is a new one. Hidden files are left alone.

    Args:
        interval: seconds between two looks at the folder.
        once: end when every picture that is there has its answer.

    Raises:
        DataError: the folder cannot be read.
        OutputError: as `Journal.add`.
    """
    waiting: dict[Key, PendingFile] = {}
    while True:
        start = time.monotonic()
        waiting = _scan(folder, journal.done, waiting)
        pause = max(interval, IDLE_PER_SCAN * (time.monotonic() - start))
        due = {key: seen for key, seen in waiting.items() if start - seen.since >= SETTLED_SECONDS}
        for key, answer in _answers(classifier, due):
            journal.add(key, answer)
            yield key[0], answer
        if due:
            journal.sync()
        if once and waiting.keys() <= journal.done:
            return
        time.sleep(pause)


def _scan(folder: Path, done: set[Key], before: Mapping[Key, PendingFile]) -> dict[Key, PendingFile]:
    """The pictures in `folder` without an answer, oldest first; what changed since `before` counts from now."""
    now, clock = time.monotonic(), time.time()
    found: dict[Key, PendingFile] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_image_name(entry.name):
                    continue
                try:
                    state, is_file = entry.stat(), entry.is_file()
                except OSError:
                    continue  # it went away meanwhile, or is a link that leads nowhere
                key = writable(entry.name), state.st_mtime_ns
                if key in done or not is_file:
                    continue
                known = before.get(key)
                if known is None or known.size_bytes != state.st_size:
                    age = max(0.0, clock - state.st_mtime) if known is None else 0.0
                    known = PendingFile(Path(entry.path), state.st_size, now - age)
                found[key] = known
    except OSError as error:
        raise DataError(f"Cannot watch the folder {folder}: {error.strerror}.") from error
    return dict(sorted(found.items(), key=lambda item: item[0][1]))


def _answers(classifier: Classifier, due: Mapping[Key, PendingFile]) -> Iterator[tuple[Key, Prediction]]:
    """The answers for what is `due`; none yet for a picture that changed meanwhile or may still become readable."""
    paths = [seen.path for seen in due.values()]
    for (key, seen), outcome in zip(due.items(), classifier.predict_batch(paths, errors="return"), strict=True):
        try:
            state = seen.path.stat()
        except OSError:
            continue  # gone
        if (state.st_mtime_ns, state.st_size) != (key[1], seen.size_bytes):
            continue
        if not isinstance(outcome, DataError):
            yield key, outcome
        elif time.monotonic() - seen.since >= GIVE_UP_SECONDS:
            yield key, Prediction(UNREADABLE, 0.0, {}, str(outcome))
