"""`oddeven train --dry-run`: what would be read, split and trained, and roughly how long that takes here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from oddeven.runtime.table import render
from oddeven.train.data.cache import cache_path
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.listing import read_listing
from oddeven.train.fit import Plan, compiled

WARM_STEPS, TIMED_STEPS = 2, 5


def decoding_note(source: ImageSource) -> str:
    """One line on the images to decode: how many, and into which folder."""
    listing = read_listing(Path(source.path), source.positive)
    path, count = cache_path(listing, source), len(listing.records)
    size = f"{count * np.prod(source.input.shape) / 1e6:,.1f} MB in {path.parent}"
    return f"{count} images, decoded already: {size}" if path.is_file() else f"{count} images to decode into {size}"


def plan_table(plans: Sequence[Plan]) -> str:
    """The splits that the plans train on, and the size and time of each plan."""
    data = plans[0].dataset
    splits = [
        (name, len(split), *np.bincount(split.labels, minlength=2).tolist())
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    ]
    header = ("model", "recipe", "parameters", "epochs", "batch", "about")
    return "\n\n".join([render(("split", "images", *data.labels), splits), render(header, list(_rows(plans)))])


def _rows(plans: Sequence[Plan]) -> Iterator[tuple[object, ...]]:
    for plan in plans:
        (network, model), batches = compiled(plan), iter(plan.batches(range(100)))
        for batch in islice(batches, WARM_STEPS):
            model.train_on_batch(*batch)
        start = time.perf_counter()
        for batch in islice(batches, TIMED_STEPS):
            model.train_on_batch(*batch)
        seconds = (time.perf_counter() - start) / TIMED_STEPS * plan.steps * plan.epochs
        parameters = f"{network.count_params():,}"
        yield plan.architecture, plan.recipe_name, parameters, plan.epochs, plan.recipe.batch_size, f"{seconds:.0f} s"
