"""A dataset from photographs with any two labels, decoded once into a file that training streams from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import write
from oddeven.runtime.schema import to_json
from oddeven.train.data.cache import Contents, cache_path, open_cached, prune
from oddeven.train.data.dataset import Dataset, ImageSource, Split
from oddeven.train.data.decoding import SHOWN, decode_images
from oddeven.train.data.listing import SPLITS, Listing, read_listing
from oddeven.train.data.splits import assign_splits


def load_image_set(source: ImageSource) -> Dataset:
    """The images at `source`, as a memory map, so that there may be more than fit into memory.

    They are decoded where no equal source was decoded before.

    Raises:
        DataError: the folder or file is not usable, see `read_listing`, or too many of its images are not.
        OutputError: the decoded images cannot be stored.
    """
    listing = read_listing(Path(source.path), source.positive)
    path = cache_path(listing, source)
    cached = open_cached(path, listing, source)
    if cached is None:
        contents = decode_images(listing, source, path)
        write(path.with_suffix(".json"), to_json(contents))
        prune(path.parent)
        cached = contents, np.load(path, mmap_mode="r")
    contents, images = cached
    if len(contents.bad) > source.max_bad:
        more = [f"... and {len(contents.bad) - SHOWN} more"] if len(contents.bad) > SHOWN else []
        raise DataError("\n  ".join([
            f"{len(contents.bad)} images of {source.path} cannot be used and --max-bad allows {source.max_bad}; "
            "repair or remove them, or allow as many:",
            *contents.bad[:SHOWN], *more,
        ]))  # fmt: skip
    return _dataset(listing, source, contents, images)


def outline_image_set(source: ImageSource) -> Dataset:
    """What `load_image_set` will give, from the listing alone: black images, and unusable and duplicate ones unknown.

    Raises:
        DataError: as `read_listing`.
    """
    listing = read_listing(Path(source.path), source.positive)
    none_together = np.empty((0, 2), np.int64)
    numbers = np.arange(len(listing.records))
    homes = assign_splits(listing.records, listing.targets(numbers), none_together, source.seed)
    train, validation, test = np.bincount(homes, minlength=len(SPLITS)).tolist()
    order = tuple(np.argsort(homes, kind="stable").tolist())
    black = np.broadcast_to(np.zeros(source.input.shape, np.uint8), (len(numbers), *source.input.shape))
    return _dataset(listing, source, Contents("", order, (train, validation, test), (), ()), black)


def _dataset(listing: Listing, source: ImageSource, contents: Contents, images: Pixels) -> Dataset:
    whole = Split(
        images=images,
        labels=listing.targets(contents.order),
        slices=np.array([listing.records[number].slice for number in contents.order]),
        index=np.array(contents.order),
    )
    train, validation, _ = contents.counts
    return Dataset(
        name=listing.name,
        sha256=contents.sha256,
        labels=listing.labels,
        input=source.input,
        train=whole.take(slice(0, train)),
        validation=whole.take(slice(train, train + validation)),
        test=whole.take(slice(train + validation, None)),
        files=tuple(str(record.path) for record in listing.records),
        warnings=(*(f"Left out: {reason}" for reason in contents.bad), *contents.warnings),
    )
