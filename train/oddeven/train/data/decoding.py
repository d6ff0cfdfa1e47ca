"""From image files to pixels on disk, by the runtime's own decoder and preprocessing: a model is trained on exactly the
pixels that it will see on the device.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import click
import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Pixels
from oddeven.runtime.errors import DataError, OutputError, extra, needing
from oddeven.runtime.files import replacing
from oddeven.runtime.images.decode import decode_image
from oddeven.runtime.images.parallel import chunks_of, in_order
from oddeven.runtime.images.preprocess import prepare, with_path
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.cache import Contents
from oddeven.train.data.dataset import ImageSource, fingerprint
from oddeven.train.data.listing import SPLITS, Listing, Record
from oddeven.train.data.splits import Indices, assign_splits, near_duplicates, perceptual_hash

BLOCK = 1024  # rows that are copied at a time
SHOWN = 20  # sentences about unusable images in an error


@dataclass(frozen=True)
class Traits:
    """What is compared between images: the file's height and width, a hash of the pixels, and a perceptual hash."""

    size: tuple[int, ...]
    digest: int
    look: npt.NDArray[np.bool_]


def decode_images(listing: Listing, source: ImageSource, path: Path) -> Contents:
    """Decode every image, assign the splits, and store the usable ones at `path`, split by split, shuffled within.

    Writes a NumPy file of uint8 (N, *source.input.shape). Memory does not grow with the size of the dataset.

    Raises:
        DataError: the usable images, or those of a split, lack a label.
        OutputError: the file cannot be written.
    """
    shape = source.input.shape
    click.echo(f"decoding {len(listing.records)} images of {source.path} ...", err=True)
    with _scratch(path, len(listing.records) * math.prod(shape)) as file:
        decoded, bad = _decode_each(listing.records, source.input, file)
        row_of = {number: row for row, number in enumerate(decoded)}
        for same in _contradictions(decoded, listing):
            paths = " and ".join(str(listing.records[number].path) for number in same)
            bad.append(f"{paths} are the same image under both labels.")
            decoded = {number: traits for number, traits in decoded.items() if number not in same}
        usable = np.array(list(decoded), np.int64)
        labels = listing.targets(usable)
        if len(np.unique(labels)) < 2:
            raise DataError("\n  ".join([f"{source.path} has usable images of one label at most:", *bad[:SHOWN]]))
        records = [listing.records[number] for number in usable]
        pairs = near_duplicates(np.stack([traits.look for traits in decoded.values()]))
        homes = assign_splits(records, labels, pairs, source.seed)
        _check_both_labels(homes, labels, source.path)
        shuffled = np.random.default_rng(source.seed).permutation(len(usable))
        order = shuffled[np.argsort(homes[shuffled], kind="stable")]
        pixels = np.memmap(file, np.uint8, "r", shape=(len(row_of), *shape))
        _store(pixels, [row_of[number] for number in usable[order]], path)
    counts = np.bincount(homes, minlength=len(SPLITS))
    warnings = (*_telling_sizes(decoded, listing), *_duplicates(pairs, homes, labels, records))
    digest = fingerprint(np.load(path, mmap_mode="r"), labels[order], counts)
    train, validation, test = counts.tolist()
    return Contents(digest, tuple(usable[order].tolist()), (train, validation, test), tuple(bad), warnings)


@contextmanager
def _scratch(path: Path, size: int) -> Iterator[IO[bytes]]:
    """An unnamed file beside `path`, so that a killed run leaves nothing; there is room for `size` bytes in both."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < 2 * size:
            raise OutputError(
                f"Decoding needs {2 * size / 1e6:,.0f} MB in {path.parent}, where {free / 1e6:,.0f} MB are free; make "
                "room, or set XDG_CACHE_HOME to another disk."
            )
        with tempfile.TemporaryFile(dir=path.parent) as file:
            yield file
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error


def _decode_each(records: Sequence[Record], spec: InputSpec, file: IO[bytes]) -> tuple[dict[int, Traits], list[str]]:
    """Append the pixels of each usable image to `file`; their traits by number, and a sentence for each other image."""
    with needing("Reading an image folder", extra("train")):
        import imagehash  # noqa: F401

    def decode(path: Path) -> tuple[Pixels, Traits] | str:
        try:
            image = decode_image(path, spec.channels)
            pixels = prepare(image, spec)
        except DataError as error:
            return with_path(path, error)
        return pixels, Traits(image.shape[:2], hash(pixels.tobytes()), perceptual_hash(pixels))

    def decode_chunk(chunk: Sequence[Record]) -> list[tuple[Pixels, Traits] | str]:
        return [decode(record.path) for record in chunk]

    decoded: dict[int, Traits] = {}
    bad = []
    results = in_order(decode_chunk, chunks_of(records))
    for number, result in enumerate(chain.from_iterable(results)):
        if isinstance(result, str):
            bad.append(result)
        else:
            pixels, decoded[number] = result
            file.write(pixels.tobytes())
    file.flush()
    return decoded, bad


def _contradictions(decoded: Mapping[int, Traits], listing: Listing) -> list[list[int]]:
    """The numbers of equal images that have different labels."""
    equal: dict[int, list[int]] = {}
    for number, traits in decoded.items():
        equal.setdefault(traits.digest, []).append(number)
    return [same for same in equal.values() if len({listing.records[number].label for number in same}) > 1]


def _check_both_labels(homes: Indices, labels: Labels, path: str) -> None:
    for number, name in enumerate(SPLITS):
        if len(np.unique(labels[homes == number])) < 2:
            raise DataError(
                f"The {name} split of {path} would lack a label: too many images look the same, are of one group or "
                "are unusable; give more, or choose the splits yourself, as train, val and test."
            )


def _store(pixels: Pixels, rows: Sequence[int], path: Path) -> None:
    """Write these `rows` of `pixels` to the NumPy file `path`, a block at a time."""
    with replacing(path) as partial, partial.open("wb") as stored:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *pixels.shape[1:])}
        np.lib.format.write_array_header_1_0(stored, header)
        for start in range(0, len(rows), BLOCK):
            stored.write(pixels[rows[start : start + BLOCK]].data)


def _telling_sizes(decoded: Mapping[int, Traits], listing: Listing) -> Iterator[str]:
    """A warning where the size of a file alone tells its label."""
    sizes: dict[str, set[tuple[int, ...]]] = {label: set() for label in listing.labels}
    for number, traits in decoded.items():
        sizes[listing.records[number].label].add(traits.size)
    if set.intersection(*sizes.values()):
        return
    for label, own in sizes.items():
        if len(own) == 1:
            height, width = own.pop()
            yield (
                f"All images of {label!r} are {width}x{height} and none of the other label is: the model may learn the "
                "size instead of the content; take both from the same source."
            )
            return


def _duplicates(pairs: Indices, homes: Indices, labels: Labels, records: Sequence[Record]) -> Iterator[str]:
    """Warnings about near-duplicate images."""
    left, right = pairs.T
    for found, what in (
        (pairs, "look the same; each pair is kept in one split unless the dataset itself separates it"),
        (pairs[homes[left] != homes[right]], "look the same but are in different splits; remove one of each"),
        (pairs[labels[left] != labels[right]], "look the same but have different labels; check them"),
    ):
        if len(found):
            first, second = (repr(str(records[number].path)) for number in found[0])
            yield f"{len(found)} pair{'s' * (len(found) > 1)} of images {what}, first {first} and {second}."
