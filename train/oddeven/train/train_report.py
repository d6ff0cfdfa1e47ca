"""`train-report.html`: what a person with few images should know of them and of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from oddeven.runtime.arrays import Pixels, Probabilities
from oddeven.runtime.files import write
from oddeven.runtime.images.encode import to_image, to_png_base64
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.page import render_page
from oddeven.train.data.dataset import Dataset, Split
from oddeven.train.few_images import estimate, examine, occlusion
from oddeven.train.probe import Features

TEMPLATE = Path(__file__).parent / "templates" / "train-report.html"
MOST = 2000  # images that are cross-validated
SHOWN = 12  # doubtful labels and pairs of duplicates
MAPPED = 6  # mistakes


class Card(NamedTuple):
    """Pictures beside each other, and lines below them."""

    pictures: list[str]
    lines: list[str]


def examined_images(dataset: Dataset, seed: int) -> Split:
    """The training and validation images that are cross-validated: all, or `MOST` of them at random.

    No others are read, as there may be more than fit into memory.
    """
    train, validation = dataset.train, dataset.validation
    chosen = np.sort(np.random.default_rng(seed).permutation(len(train) + len(validation))[:MOST])
    border = np.searchsorted(chosen, len(train))
    parts = train.take(chosen[:border]), validation.take(chosen[border:] - len(train))
    return Split(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Split)))


def write_train_report(
    path: Path, model: Any, dataset: Dataset, features: Features, split: Split, p: Probabilities, threshold: float
) -> None:
    """Write the page for a trained `model`.

    Args:
        path: of the page.
        model: a Keras model, float32 (N, H, W, C) to the probability of label 1, (N, 1).
        dataset: that it was trained on.
        features: of the images of `split` in the network before it was fine-tuned, float32 (N, K).
        split: `examined_images`.
        p: the model's probabilities for the test images, float32 (N,).
        threshold: of the model.

    Raises:
        MissingPackageError: Jinja2 is not installed.
        OutputError: the page cannot be written.
    """
    few = examine(features, split.labels, split.images, seed=0)
    doubtful = [
        _card(dataset, split, [i], f"labelled {dataset.labels[split.labels[i]]}, given {few.given[i]:.2f}")
        for i in few.doubtful[:SHOWN]
    ]
    wrong = dataset.test.mistakes(p, threshold)
    page = render_page(
        TEMPLATE,
        name=path.parent.name,
        labels=dataset.labels,
        test=estimate(len(p) - len(wrong), len(p)),
        few=few,
        doubtful=doubtful,
        duplicates=[_card(dataset, split, pair) for pair in few.duplicates[:SHOWN].tolist()],
        mistakes=[_mistake(model, dataset, i, p[i]) for i in wrong[:MAPPED].tolist()],
    )
    write(path, page)


def _mistake(model: Any, dataset: Dataset, i: int, p: float) -> Card:
    """The test image at position `i`, wrongly predicted with the probability `p`, and a map of what mattered."""
    test, spec = dataset.test, dataset.input
    image = to_float(test.images[i], spec)
    moved = occlusion(lambda batch: model.predict(batch, verbose=0), image, (spec.low + spec.high) / 2)
    truth, given = dataset.labels[test.labels[i]], dataset.labels[1 - test.labels[i]]
    for_given = moved if test.labels[i] == 0 else -moved
    pictures, lines = _card(dataset, test, [i], f"is {truth}, predicted {given} ({p:.2f})")
    return Card([*pictures, to_png_base64(_heated(test.images[i], for_given))], lines)


def _card(dataset: Dataset, split: Split, positions: Sequence[int], *lines: str) -> Card:
    """The images at `positions` of `split`, and their names above `lines`."""
    pictures = [to_png_base64(split.images[i]) for i in positions]
    return Card(pictures, [*(dataset.image_name(split.index[i]) for i in positions), *lines])


def _heated(image: Pixels, moved: Features) -> Pixels:
    """`image` in grey, red where `moved` is large."""
    heat = np.clip(moved / max(float(np.abs(moved).max()), 1e-6), 0, 1)
    size = image.shape[1], image.shape[0]
    mask = Image.fromarray((heat * 0.75 * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grey = to_image(image).convert("L").convert("RGB")
    return np.asarray(Image.composite(Image.new("RGB", size, "#d7191c"), grey, mask))
