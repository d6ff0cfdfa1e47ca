"""Decoded images on disk, so that an image folder is decoded once: a `.npy` file that is mapped, and its `.json`."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from oddeven.runtime import images
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import DAMAGED
from oddeven.runtime.schema import from_json
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.listing import Listing

KEPT_BYTES = 20e9
FRESH_S = 24 * 3600.0


@dataclass(frozen=True)
class Contents:
    """What the decoded images of a file are.

    Attributes:
        sha256: of pixels, labels and the sizes of the splits.
        order: the number of each image in the listing: first those that train, then validation, then test.
        counts: images in each split.
        bad: one sentence for each image that cannot be used.
        warnings: one sentence for each suspicion.
    """

    sha256: str
    order: tuple[int, ...]
    counts: tuple[int, int, int]
    bad: tuple[str, ...]
    warnings: tuple[str, ...]


def cache_path(listing: Listing, source: ImageSource) -> Path:
    """The `.npy` file of the decoded images, below `XDG_CACHE_HOME`; it may be deleted at any time.

    Its name follows from the sizes and times of the listed files, and from how they are read: options and code.
    """
    files = [record.path.stat() if record.path.exists() else record.path.lstat() for record in listing.records]
    records = [asdict(record) | {"path": str(record.path)} for record in listing.records]
    code = [path.read_text() for path in sorted(Path(images.__file__).parent.glob("*.py"))]
    how = [asdict(source.input), listing.labels, source.seed, version("oddeven"), version("pillow"), code]
    text = json.dumps([records, [(file.st_size, file.st_mtime_ns) for file in files], how])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddeven"
    return folder / f"{listing.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"


def open_cached(path: Path, listing: Listing, source: ImageSource) -> tuple[Contents, Pixels] | None:
    """The contents and the mapped images that an earlier run stored; None where a part is missing or damaged."""
    record = path.with_suffix(".json")
    try:
        contents = from_json(Contents, record.read_bytes(), str(record))
        images = np.load(path, mmap_mode="r")
        for file in (path, record):
            os.utime(file)  # `prune` counts from here
    except (*DAMAGED, ModelError):
        return None
    order = contents.order
    whole = images.shape == (sum(contents.counts), *source.input.shape) and images.dtype == np.uint8
    known = len(order) == len(images) > 0 and min(order) >= 0 and max(order) < len(listing.records)
    return (contents, images) if whole and known else None


def prune(folder: Path) -> None:
    """Remove the images that were used least recently, until `KEPT_BYTES` are left.

    What was used within the last day stays, as another run may be using it. A mapped file stays readable.
    """
    used = []
    for path in folder.glob("[!.]*.npy"):
        with suppress(FileNotFoundError):  # another run prunes too
            used.append((path.stat().st_mtime, path.stat().st_size, path))
    total = 0
    for modified, size, path in sorted(used, reverse=True):
        total += size
        if total > KEPT_BYTES and time.time() - modified > FRESH_S:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
