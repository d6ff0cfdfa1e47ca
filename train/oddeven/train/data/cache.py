"""From picture files to pixels on disk, by the runtime's own decoder and preprocessing: a model is trained on the very
pixels that it will see on the device.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import BlankError, DataError, OutputError, extra, needing
from oddeven.runtime.files import replacing
from oddeven.runtime.images.preprocess import prepare, read
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.listing import SPLITS, Listing
from oddeven.train.data.splits import HASH_SIDE, Pairs, assign_splits, near_duplicates

ROWS = 1024


@dataclass(frozen=True)
class Decoded:
    """What was stored: the listed pictures' numbers in its order, how many in each split, and what was wrong."""

    order: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    bad: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A usable picture: its file's size in pixels, the prepared picture's hash, and how it looks, as a hash of bits."""

    size: tuple[int, ...]
    digest: int
    look: npt.NDArray[np.bool_]


def decode_images(listing: Listing, source: ImageSource, path: Path) -> Decoded:
    """Read every picture, choose its split, and store the usable ones, split by split and mixed within, at `path`.

    Writes a NumPy file of uint8 (N, *source.input.shape). Memory does not grow with the size of the pictures.

    Raises:
        DataError: no picture of a label is usable, or a split is left without.
        OutputError: the file cannot be written.
    """
    print(f"reading {len(listing.records)} pictures of {source.path} ...", file=sys.stderr, flush=True)
    with _scratch(path, (len(listing.records), *source.input.shape)) as pixels:
        seen, bad = _examine(listing, source.input, pixels)
        good = np.array(sorted(seen), np.int64)
        records = [listing.records[number] for number in good]
        labels = np.array([record.label == listing.labels[1] for record in records], np.uint8)
        if len(set(labels.tolist())) < 2:
            raise DataError("\n  ".join([f"{source.path} has usable pictures of one label at most:", *bad[:ROWS]]))
        pairs = near_duplicates(np.stack([seen[number].look for number in good]))
        homes = assign_splits(records, labels, pairs, source.seed)
        _check(homes, labels, source.path)
        mixed = np.random.default_rng(source.seed).permutation(len(good))
        order = mixed[np.argsort(homes[mixed], kind="stable")]
        _store(pixels, good[order], path)
    names = [repr(str(record.path)) for record in records]
    doubts = (*_sizes(seen, listing), *_copies(pairs, homes, labels, names))
    return Decoded(good[order], np.bincount(homes, minlength=len(SPLITS)), tuple(bad), doubts)


@contextmanager
def _scratch(path: Path, shape: tuple[int, ...]) -> Iterator[Pixels]:
    """Zeros on disk, in a file without a name beside `path`, so that a killed run leaves nothing."""
    size = math.prod(shape)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < 2 * size:  # once here and once at `path`
            raise OutputError(
                f"Decoding needs {2 * size / 1e6:,.0f} MB in {path.parent}, where {free / 1e6:,.0f} MB are free; make "
                "room, or set XDG_CACHE_HOME to another disk."
            )
        with ExitStack() as opening:
            file = opening.enter_context(tempfile.TemporaryFile(dir=path.parent))
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # a disk that fills up later would kill the process
                os.posix_fallocate(file.fileno(), 0, size)
            pixels = np.memmap(file, np.uint8, "r+", shape=shape)
            opening.pop_all()
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    with file:
        yield pixels


def _examine(listing: Listing, spec: InputSpec, pixels: Pixels) -> tuple[dict[int, Seen], list[str]]:
    """Fill `pixels` on all cores: what was seen in each usable picture, by number, and a sentence for each other."""
    with needing("Reading a picture set", extra("train")):
        import imagehash

    def look(number: int) -> Seen | str:
        path = listing.records[number].path
        try:
            decoded = read(path, spec.channels)
            ready = prepare(decoded, spec)
        except BlankError as error:
            return f"{path}: {error}"
        except DataError as error:
            return str(error)
        pixels[number] = ready
        image = Image.fromarray(ready.squeeze(-1) if spec.channels == 1 else ready)
        bits = imagehash.phash(image, hash_size=HASH_SIDE).hash.ravel()
        return Seen(decoded.shape[:2], hash(ready.tobytes()), bits)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(look, range(len(listing.records))))
    seen = {number: result for number, result in enumerate(results) if isinstance(result, Seen)}
    bad = [result for result in results if isinstance(result, str)]
    for same in _contradictions(seen, listing):
        paths = [str(listing.records[number].path) for number in same]
        bad.append(f"{' and '.join(paths)} are the same picture under both labels.")
        for number in same:
            del seen[number]
    return seen, bad


def _contradictions(seen: Mapping[int, Seen], listing: Listing) -> list[list[int]]:
    """The numbers of equal pictures that have different labels."""
    equal: dict[int, list[int]] = {}
    for number, found in seen.items():
        equal.setdefault(found.digest, []).append(number)
    return [same for same in equal.values() if len({listing.records[number].label for number in same}) > 1]


def _store(pixels: Pixels, order: npt.NDArray[np.int64], path: Path) -> None:
    """Write the rows `order` of `pixels` to the NumPy file `path`, a stretch at a time."""
    with replacing(path) as partial:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(order), *pixels.shape[1:])}
        with partial.open("wb") as stored:
            np.lib.format.write_array_header_1_0(stored, header)
            for start in range(0, len(order), ROWS):
                stored.write(pixels[order[start : start + ROWS]].data)


def _check(homes: npt.NDArray[np.int64], labels: npt.NDArray[np.uint8], path: str) -> None:
    for number, name in enumerate(SPLITS):
        if len(set(labels[homes == number].tolist())) < 2:
            raise DataError(
                f"The {name} split of {path} would lack a label: its groups are too large, or too many pictures are "
                "unusable; give more pictures or smaller groups."
            )


def _sizes(seen: Mapping[int, Seen], listing: Listing) -> Iterator[str]:
    """Whether a label could be told by the size of its files alone."""
    sizes: dict[str, set[tuple[int, ...]]] = {label: set() for label in listing.labels}
    for number, found in seen.items():
        sizes[listing.records[number].label].add(found.size)
    one, other = sizes.values()
    if not one & other and 1 in {len(one), len(other)}:
        label = next(label for label, own in sizes.items() if len(own) == 1)
        height, width = next(iter(sizes[label]))
        yield (
            f"All pictures of {label!r} are {width}x{height} and none of the other label is: the model may learn the "
            "size instead of the thing; take both from the same source."
        )


def _copies(pairs: Pairs, homes: Any, labels: Any, names: list[str]) -> Iterator[str]:
    """What to say of pictures that look the same."""
    apart = pairs[homes[pairs[:, 0]] != homes[pairs[:, 1]]]
    across = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
    for found, what in (
        (pairs, "look the same; each pair is kept in one split unless the set itself parts it"),
        (apart, "look the same and lie in different splits, which makes the test too easy; remove one of each"),
        (across, "look the same and have different labels; look at them"),
    ):
        if len(found):
            yield f"{len(found)} pairs of pictures {what}, first {names[found[0][0]]} and {names[found[0][1]]}."
