"""A file of predictions, one line each, that is only ever appended to and survives a kill at any point.

It is its own record of what was classified: an image is identified by its name and the time it was written. A line that
a kill or a power cut tore is removed when the journal is next opened, and its image is classified again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from oddeven.runtime.errors import DataError, OutputError, UsageError, choose
from oddeven.runtime.prediction import Prediction, as_fields, as_row, header, writable

Key = tuple[str, int]  # an image's name in its folder, and when it was written, in ns since 1970
SUFFIXES = (".jsonl", ".csv")
WRITTEN = "mtime_ns"
OPENING = '{"file": "'  # of each line of JSON


class Journal:
    """An open journal; a file has one at a time. Use it in a `with` statement.

    Attributes:
        done: the images that it holds a prediction for.
    """

    def __init__(self, path: Path, labels: tuple[str, str]) -> None:
        """Open or make the journal at `path`, JSON lines or, where its suffix is `.csv`, CSV.

        Raises:
            UsageError: the suffix is neither, another process has it open, or its columns are of other labels.
            DataError: it holds something else than predictions.
            OutputError: it cannot be read or written.
        """
        self._is_csv = choose("kind of journal", path.suffix, SUFFIXES) == ".csv"
        self._path, self._labels = path, labels
        self._columns = [*header(labels), WRITTEN]
        self.done: set[Key] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        with ExitStack() as on_failure:
            on_failure.callback(self._file.close)
            self._lock()
            self._read()
            on_failure.pop_all()

    def add(self, key: Key, prediction: Prediction) -> None:
        """Append a line; it survives a kill as soon as this returns, and a power cut after `sync`.

        Raises:
            OutputError: it cannot be written; the next `Journal` of this file removes what was. Or somebody has removed
                the file.
        """
        name, mtime_ns = key
        if self._is_csv:
            self._write(_csv_line([*as_row(name, prediction, self._labels), mtime_ns]))
        else:
            self._write(json.dumps({**as_fields(name, prediction), WRITTEN: mtime_ns}) + "\n")
        self.done.add(key)

    def sync(self) -> None:
        """Bring all lines to the disk.

        Raises:
            OutputError: the disk does not take them.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _lock(self) -> None:
        try:
            # POSIX's lock is not inherited by a process that was forked to decode images and ends later.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"Another process writes to {self._path}; name another --out.") from error

    def _read(self) -> None:
        """Note what each line is about, and remove a torn one at the end."""
        whole, torn = 0, b""
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as lines:  # to close the file would give up the lock
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):  # a line without is torn, and the last
                    self._note(number, line.decode(errors="replace"))
                    whole += len(line)
                else:
                    torn = line.rstrip(b"\0")  # which a power cut may leave
        first = (_csv_line(self._columns) if self._is_csv else OPENING).encode()
        if not (whole or first.startswith(torn) or torn.startswith(first)):
            raise self._foreign(1)
        self._file.truncate(whole)
        if self._is_csv and not whole:
            self._write(_csv_line(self._columns))

    def _note(self, number: int, line: str) -> None:
        try:
            if self._is_csv:
                row = next(csv.reader([line]))
                if number == 1:
                    self._check_columns(row)
                    return
                name, written = row[0], row[len(self._columns) - 1]
            else:
                fields = json.loads(line)
                name, written, _ = fields["file"], fields[WRITTEN], fields["label"]
            self.done.add((str(name), int(written)))
        except (ValueError, TypeError, LookupError, StopIteration, OverflowError, RecursionError) as error:
            raise self._foreign(number) from error

    def _check_columns(self, columns: list[str]) -> None:
        if columns != self._columns:
            raise UsageError(
                f"{self._path} has the columns {', '.join(columns):.80}, this model's predictions "
                f"{', '.join(self._columns)}; name another --out."
            )

    def _write(self, line: str) -> None:
        rest = line.encode()
        if not os.fstat(self._file.fileno()).st_nlink:  # what is written to it is lost
            raise OutputError(f"{self._path} was removed while it was in use; start again with a new one.")
        try:
            while rest:  # a disk that fills up takes a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _foreign(self, number: int) -> DataError:
        return DataError(f"{self._path}, line {number}, is not a prediction of oddeven watch; move the file away.")

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"Cannot write {self._path}: {error.strerror or error}.")


def _csv_line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([writable(str(cell)) for cell in cells])
    return line.getvalue()
