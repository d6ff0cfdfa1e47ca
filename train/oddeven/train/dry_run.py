"""`oddeven train --dry-run`: what would be read, split and trained, and roughly how long that takes here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from oddeven.runtime.errors import DataError
from oddeven.runtime.images.preprocess import prepare, read
from oddeven.runtime.table import render
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.image_folder import cache_path
from oddeven.train.data.input_pipeline import input_pipeline, steps_per_epoch
from oddeven.train.data.listing import read_listing
from oddeven.train.fit import Plan, compiled

TRIED_PICTURES, WARM_STEPS, TIMED_STEPS = 16, 2, 5


def reading(source: ImageSource) -> str:
    """One line on decoding the picture set: how much, where to, how long."""
    listing = read_listing(Path(source.path), source.positive)
    path = cache_path(listing, source)
    count = len(listing.records)
    size = f"{count * np.prod(source.input.shape) / 1e6:,.1f} MB in {path.parent}"
    if path.is_file():
        return f"{count} pictures, decoded already: {size}"
    start = time.perf_counter()
    for record in listing.records[:: -(-count // TRIED_PICTURES)]:
        try:
            prepare(read(record.path, source.input.channels), source.input)
        except DataError as error:
            return f"{count} pictures, some unusable ({error})"
    seconds = (time.perf_counter() - start) / TRIED_PICTURES * count
    return f"{count} pictures to decode into {size}: about {seconds:.0f} s"


def plan_table(plans: Sequence[Plan]) -> str:
    """What the plans train on, and each with its size and time."""
    data = plans[0].dataset
    splits = [
        (name, len(split), *np.bincount(split.labels, minlength=2).tolist())
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    ]
    header = ("model", "recipe", "parameters", "epochs", "batch", "about")
    return "\n\n".join([render(("split", "pictures", *data.labels), splits), render(header, list(_rows(plans)))])


def _rows(plans: Sequence[Plan]) -> Iterator[tuple[object, ...]]:
    for plan in plans:
        model, recipe = compiled(plan), plan.recipe
        steps = plan.epochs * steps_per_epoch(len(plan.dataset.train), recipe.batch_size)
        data = plan.dataset
        batches = iter(
            input_pipeline(data.train, data.input, recipe.batch_size, recipe.augmentation, plan.seed, range(100))
        )
        for batch in islice(batches, WARM_STEPS):
            model.train_on_batch(*batch)
        start = time.perf_counter()
        for batch in islice(batches, TIMED_STEPS):
            model.train_on_batch(*batch)
        seconds = (time.perf_counter() - start) / TIMED_STEPS * steps
        yield (plan.architecture, plan.recipe_name, f"{model.count_params():,}", plan.epochs, recipe.batch_size,
               f"{seconds:.0f} s")  # fmt: skip
