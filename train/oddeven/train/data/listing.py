"""The images of a dataset and their labels, before any image is opened: from an image folder or from a CSV file."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddeven.runtime.arrays import Labels
from oddeven.runtime.errors import DataError, choose
from oddeven.runtime.images.sources import below, folders
from oddeven.runtime.spec import label_fault

SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
COLUMNS = ("path", "label", "split", "group", "slice")  # the first two are required
LEAST = 25  # images of a label: the training part of two such labels just suffices to calibrate a quantized model


@dataclass(frozen=True)
class Record:
    """One listed image.

    Attributes:
        path: of the file.
        label: its name.
        split: one of `SPLITS`, or empty where we choose.
        group: images of one group, such as those of one workpiece, stay in one split; empty for none.
        slice: what the image is reported under.
    """

    path: Path
    label: str
    split: str = ""
    group: str = ""
    slice: str = ""


@dataclass(frozen=True)
class Listing:
    """The records by path, and the two labels, the positive one last."""

    name: str
    records: tuple[Record, ...]
    labels: tuple[str, str]

    def targets(self, numbers: Iterable[int]) -> Labels:
        """0 or 1 for each of the records with these `numbers`."""
        return np.array([self.records[number].label == self.labels[1] for number in numbers], np.uint8)


def read_listing(path: Path, positive: str | None = None) -> Listing:
    """The images that the folder or CSV file `path` lists.

    Args:
        path: a folder with a folder for each label, or with `train`, `val` and `test` above them; or a CSV file with
            the columns `path`, `label` and optionally `split`, `group` and `slice`, its paths relative to itself.
        positive: the label that is 1; by default the second one by name.

    Raises:
        DataError: there are not two labels of `LEAST` images each, or the folder or file is not as described.
        UsageError: no label is called `positive`.
    """
    if not path.exists():
        raise DataError(f"There is no folder or CSV file {path}.")
    layout = _from_csv if path.is_file() else _from_splits if (path / "train").is_dir() else _from_labels
    try:
        records = sorted(layout(path), key=lambda record: record.path)
    except OSError as error:
        raise DataError(f"{path} cannot be listed: {error}.") from error
    labels = _two_labels(records, path)
    _check_splits(records, path)
    if positive is not None and choose("label", positive, labels) == labels[0]:
        labels = labels[::-1]
    return Listing(path.resolve().stem, tuple(records), labels)


def _from_splits(path: Path) -> Iterator[Record]:
    for folder in folders(path):
        if folder.name not in SPLIT_FOLDERS:
            raise DataError(f"{path} has train/ and so is read as splits, but {folder.name!r} is not one of {SPLITS}.")
        yield from _from_labels(folder, SPLIT_FOLDERS[folder.name])


def _from_labels(path: Path, split: str = "") -> Iterator[Record]:
    for folder in folders(path):
        found = list(below(folder, (path.resolve(),)))
        if not found:
            raise DataError(f"The folder {str(folder)!r} holds no image; fill or remove it.")
        yield from (Record(image, folder.name, split, slice=folder.name) for image in found)


def _from_csv(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file in UTF-8 ({error}).") from error
    if not set(COLUMNS[:2]) <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise DataError(f"{path} has the columns {header}; expected path, label and optionally split, group, slice.")
    missing, images = [], Counter[Path]()
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(f"{path}, row {number}: expected {len(header)} values, as in its header.")
        image, label = Path(os.path.normpath(path.parent / row["path"])), row["label"].strip()
        if not (row["path"] and image.is_file()):
            missing.append(row["path"])
        images[image] += 1
        yield Record(image, label, row.get("split", ""), row.get("group", ""), row.get("slice", "") or label)
    if repeated := [image for image, count in images.items() if count > 1]:
        raise DataError(f"{path} lists images more than once: {len(repeated)}, first {repeated[0]}; list each once.")
    if missing:
        raise DataError(f"{path} lists {len(missing)} missing files, first {missing[0]!r}; correct or remove them.")


def _two_labels(records: Sequence[Record], path: Path) -> tuple[str, str]:
    """The two labels by name, refused where there are not two with enough images."""
    counts = Counter(record.label for record in records)
    names = sorted(counts)
    listed = ", ".join(map(repr, names[:8])) or "none"
    if fault := label_fault(names):
        raise DataError(f"{path}: {fault}")
    if len(names) != 2:
        found = f"{len(names)} label{'s' * (len(names) != 1)} ({listed})"
        raise DataError(f"{path} has {found}; expected two, such as a folder for each.")
    for name in names:
        if counts[name] < LEAST:
            raise DataError(f"{path} has too few images of {name!r} ({counts[name]}); at least {LEAST} are needed.")
    return names[0], names[1]


def _check_splits(records: Sequence[Record], path: Path) -> None:
    """Refuse splits that are given in part, and groups that are in two of them."""
    given = {record.split for record in records}
    if given == {""}:
        return
    if unknown := sorted(given - set(SPLITS)):
        raise DataError(
            f"{path} has the split {unknown[0]!r}; give every image one of {', '.join(SPLITS)}, or none a split."
        )
    if not {"train", "test"} <= given:
        raise DataError(f"{path} gives the splits {sorted(given)}; expected train and test, with or without val.")
    for split in sorted(given):
        if len({record.label for record in records if record.split == split}) < 2:
            raise DataError(f"The split {split} of {path} has images of one label only; it needs both.")
    homes: dict[str, str] = {}
    for record in records:
        home = homes.setdefault(record.group, record.split)
        if record.group and home != record.split:
            both = f"{home} and in {record.split}"
            raise DataError(f"The group {record.group!r} of {path} is in {both}; keep each group in one split.")
