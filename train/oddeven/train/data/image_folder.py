"""A dataset from any photographs of two kinds, decoded once into a file that training streams from."""

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

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError, ModelError
from oddeven.runtime.files import DAMAGED, write
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.cache import decode_images
from oddeven.train.data.dataset import Dataset, ImageSource, Split, fingerprint
from oddeven.train.data.listing import Listing, read_listing
from oddeven.train.data.splits import assign_splits

SHOWN = 20
KEPT_BYTES = 20e9
FRESH_S = 24 * 3600.0


@dataclass(frozen=True)
class Contents:
    """What reading a picture set found; the decoded pictures lie in a file of their own, in this order.

    Attributes:
        sha256: of pictures, labels and the sizes of the splits.
        order: the number of each picture among the listed ones: those that train first, then validation, then test.
        counts: pictures of each split.
        bad: one sentence for each picture that cannot be used.
        warnings: one sentence for each doubt.
    """

    sha256: str
    order: tuple[int, ...]
    counts: tuple[int, int, int]
    bad: tuple[str, ...]
    warnings: tuple[str, ...]


def load_image_set(source: ImageSource) -> Dataset:
    """The picture set at `source`, its pictures a memory map, so that it may be larger than the memory.

    Where no equal set has been decoded before, it is now, into a file in `cache_folder()`.

    Raises:
        DataError: the set is not usable, see `listing.read`, or too many of its pictures are not.
        OutputError: the decoded pictures cannot be stored.
    """
    listing = read_listing(Path(source.path), source.positive)
    path = cache_path(listing, source)
    if (entry := _open(path, len(listing.records), source.input)) is None:
        contents = _decode(listing, source, path)
        write(path, to_json(contents))
        entry = contents, np.load(path.with_suffix(".npy"), mmap_mode="r")
        prune()
    contents, images = entry
    _check_bad(contents.bad, source)
    chosen = [listing.records[number] for number in contents.order]
    whole = Split(
        images=images,
        labels=np.array([record.label == listing.labels[1] for record in chosen], np.uint8),
        slices=np.array([record.slice for record in chosen]),
        index=np.array(contents.order),
    )
    ends = np.cumsum(contents.counts)
    train, validation, test = (
        whole.take(slice(end - count, end)) for end, count in zip(ends, contents.counts, strict=True)
    )
    return Dataset(
        name=listing.name,
        sha256=contents.sha256,
        labels=listing.labels,
        input=source.input,
        train=train,
        validation=validation,
        test=test,
        files=tuple(str(record.path) for record in listing.records),
        warnings=(*(f"Left out: {reason}" for reason in contents.bad), *contents.warnings),
    )


def outline_image_set(source: ImageSource) -> Dataset:
    """What `load` will give, from the listing alone: black pictures, and nothing yet of copies and unusable ones.

    Raises:
        DataError: as `listing.read`.
    """
    listing = read_listing(Path(source.path), source.positive)
    labels = np.array([record.label == listing.labels[1] for record in listing.records], np.uint8)
    homes = assign_splits(listing.records, labels, np.empty((0, 2), np.int64), source.seed)
    black = np.zeros((1, *source.input.shape), np.uint8)

    def split(number: int) -> Split:
        own = labels[homes == number]
        images = np.broadcast_to(black, (len(own), *source.input.shape))
        return Split(images, own, own.astype(np.str_), np.arange(len(own)))

    return Dataset(listing.name, "", listing.labels, source.input, split(0), split(1), split(2))


def cache_folder() -> Path:
    """Where decoded picture sets are kept, by the XDG convention; they may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddeven"


def cache_path(listing: Listing, source: ImageSource) -> Path:
    """The file for the contents of a set; its name follows from the files' sizes and times, and how they are read."""
    files = [record.path.stat() if record.path.exists() else record.path.lstat() for record in listing.records]
    said = [asdict(record) | {"path": str(record.path)} for record in listing.records]
    how = [asdict(source.input), listing.labels, source.seed, version("oddeven"), version("pillow")]
    text = json.dumps([said, [(file.st_size, file.st_mtime_ns) for file in files], how])
    return cache_folder() / f"{listing.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def prune() -> None:
    """Remove from the cache what was used least recently, until `KEPT_BYTES` are left.

    What was used within the last day stays in any case: another run may be at it. A file that a process has mapped
    stays readable to it.
    """
    entries: dict[str, list[Path]] = {}
    for path in cache_folder().iterdir():
        if not path.name.startswith("."):
            entries.setdefault(path.stem, []).append(path)
    found = []
    for own in entries.values():
        with suppress(FileNotFoundError):  # another run prunes too
            stats = [path.stat() for path in own]
            found.append((max(stat.st_mtime for stat in stats), sum(stat.st_size for stat in stats), own))
    total = 0
    for used, size, own in sorted(found, reverse=True):
        total += size
        if total > KEPT_BYTES and time.time() - used > FRESH_S:
            for path in own:
                path.unlink(missing_ok=True)


def _open(path: Path, listed: int, spec: InputSpec) -> tuple[Contents, Pixels] | None:
    """What an earlier run stored at `path` of `listed` pictures; None where a part of it is missing or damaged."""
    images = path.with_suffix(".npy")
    try:
        contents = from_json(Contents, path.read_bytes(), str(path))
        stored = np.load(images, mmap_mode="r")
        for file in (path, images):
            os.utime(file)  # it is used now
    except (*DAMAGED, ModelError):
        return None
    order = contents.order
    fits = stored.dtype == np.uint8 and stored.shape == (len(order), *spec.shape) and sum(contents.counts) == len(order)
    return (contents, stored) if fits and order and min(order) >= 0 and max(order) < listed else None


def _decode(listing: Listing, source: ImageSource, path: Path) -> Contents:
    """Decode the set into the file beside `path`."""
    images = path.with_suffix(".npy")
    found = decode_images(listing, source, images)
    labels = np.array([listing.records[number].label == listing.labels[1] for number in found.order], np.uint8)
    digest = fingerprint(np.load(images, mmap_mode="r"), labels, found.counts)
    order, counts = found.order.tolist(), found.counts.tolist()
    return Contents(digest, tuple(order), (counts[0], counts[1], counts[2]), found.bad, found.warnings)


def _check_bad(bad: tuple[str, ...], source: ImageSource) -> None:
    if len(bad) > source.max_bad:
        head = (
            f"{len(bad)} pictures of {source.path} cannot be used and --max-bad allows {source.max_bad}; "
            "mend or remove them, or allow as many:"
        )
        more = [f"... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
        raise DataError("\n  ".join([head, *bad[:SHOWN], *more]))
