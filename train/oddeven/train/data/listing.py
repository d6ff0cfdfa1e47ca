"""Which files make a picture set and what is said of each: from labelled folders, or from a CSV."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from oddeven.runtime.errors import DataError, choose
from oddeven.runtime.images.sources import below, folders

SPLITS = ("train", "val", "test")
COLUMNS = ("path", "label", "split", "group", "slice")
LEAST = 25  # of a label: the training part of two such labels just suffices to calibrate a quantized model


@dataclass(frozen=True)
class Record:
    """One picture as its set lists it.

    Attributes:
        path: of the file.
        label: its name.
        split: one of `SPLITS`, or empty where that is ours to choose.
        group: pictures of one group never part, such as those of one workpiece; empty for none.
        slice: what the picture is reported under.
    """

    path: Path
    label: str
    split: str = ""
    group: str = ""
    slice: str = ""


@dataclass(frozen=True)
class Listing:
    """A picture set before any picture is opened: its records by path, and its labels, the positive one last."""

    name: str
    records: tuple[Record, ...]
    labels: tuple[str, str]


def read_listing(path: Path, positive: str | None = None) -> Listing:
    """What the folder or CSV file `path` lists.

    Args:
        path: a folder with a folder for each label, or with `train`, `val` and `test` above them; or a CSV file with
            the columns `path`, `label` and, as one likes, `split`, `group` and `slice`, its paths relative to itself.
        positive: the label that is 1; by default the second one by name.

    Raises:
        DataError: there are not two labels of `LEAST` pictures each, or the folder or file is not as described.
        UsageError: no label is called `positive`.
    """
    if not path.exists():
        raise DataError(f"There is no folder or CSV file {path}.")
    layout = _from_csv if path.is_file() else _from_splits if (path / "train").is_dir() else _from_labels
    try:
        records = list(layout(path))
    except OSError as error:
        raise DataError(f"{path} cannot be listed: {error}.") from error
    labels = _labels(records, path)
    _check_splits(records, path)
    if positive is not None and choose("label", positive, labels) == labels[0]:
        labels = labels[::-1]
    return Listing(path.resolve().stem, tuple(sorted(records, key=lambda record: record.path)), labels)


def _from_splits(path: Path) -> Iterator[Record]:
    names = {"validation": "val", **{name: name for name in SPLITS}}
    for folder in folders(path):
        if folder.name not in names:
            raise DataError(f"{path} has train/ and so is read as splits, but {folder.name!r} is none of {SPLITS}.")
        yield from _from_labels(folder, names[folder.name])


def _from_labels(path: Path, split: str = "") -> Iterator[Record]:
    for folder in folders(path):
        found = list(below(folder, (path.resolve(),)))
        if not found:
            raise DataError(f"The folder {str(folder)!r} holds no picture; fill or remove it.")
        yield from (Record(picture, folder.name, split, slice=folder.name) for picture in found)


def _from_csv(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file in UTF-8 ({error}).") from error
    if not set(COLUMNS[:2]) <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise DataError(f"{path} has the columns {header}; expected path, label and, as you like, split, group, slice.")
    absent = []
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(f"{path}, row {number}: expected {len(header)} values, as in its header.")
        file_path = Path(os.path.normpath(path.parent / row["path"]))
        label = row["label"].strip()
        absent += [] if row["path"] and file_path.is_file() else [row["path"]]
        yield Record(file_path, label, row.get("split", ""), row.get("group", ""), row.get("slice", "") or label)
    if absent:
        raise DataError(f"{path} lists {len(absent)} missing files, first {absent[0]!r}; correct or remove them.")


def _labels(records: Sequence[Record], path: Path) -> tuple[str, str]:
    """The two labels by name, refused where there are not two with enough pictures."""
    counts = Counter(record.label for record in records)
    names = sorted(counts)
    for name in names:
        if not name.isprintable() or not name or "/" in name:
            raise DataError(f"{name!r} in {path} cannot be a label: it must be printable, without a slash; rename it.")
    for first, second in pairwise(names):
        if first.casefold() == second.casefold():
            raise DataError(f"The labels {first!r} and {second!r} in {path} differ only in case; make them one.")
    if len(names) != 2:
        listed = ", ".join(map(repr, names[:8])) or "none"
        raise DataError(f"{path} has {len(names)} labels ({listed}); expected two, such as a folder for each.")
    for name in names:
        if counts[name] < LEAST:
            raise DataError(f"{path} has {counts[name]} pictures of {name!r}; at least {LEAST} are needed, take more.")
    return names[0], names[1]


def _check_splits(records: Sequence[Record], path: Path) -> None:
    """Refuse splits that are given in part, and groups that stand in two of them."""
    given = {record.split for record in records}
    if given == {""}:
        return
    if unknown := sorted(given - set(SPLITS)):
        raise DataError(f"{path} has the split {unknown[0]!r}; give each picture one of {SPLITS}, or none of them any.")
    if not {"train", "test"} <= given:
        raise DataError(f"{path} gives the splits {sorted(given)}; expected train and test, with or without val.")
    for split in sorted(given):
        if len({record.label for record in records if record.split == split}) < 2:
            raise DataError(f"The split {split} of {path} has pictures of one label only; it needs both.")
    homes: dict[str, str] = {}
    for record in records:
        if record.group and homes.setdefault(record.group, record.split) != record.split:
            raise DataError(
                f"The group {record.group!r} of {path} is in {homes[record.group]} and in {record.split}; "
                "keep each group in one split."
            )
