"""Which training images set the quantized ranges, and whether they are fit to."""

from __future__ import annotations

import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256
from oddeven.runtime.spec import Calibration
from oddeven.train.data.dataset import Dataset

DEFAULT_SIZE = 500
LEAST = 32  # fewer show too little of what is usual
ENOUGH = 200  # TensorFlow's guide to post-training quantization advises 100 to 500


def draw_calibration(dataset: Dataset, size: int = DEFAULT_SIZE, seed: int = 0) -> tuple[Pixels, Calibration]:
    """Draw `size` training images at random, with the labels in the proportion of the training split.

    Returns:
        uint8 (size, H, W, C), and the record of the draw.

    Raises:
        DataError: the training split has fewer images than that.
    """
    (images,), counts = _stratified_draws(dataset, size, seed, 1)
    return images, Calibration(f"{dataset.name} training split", sha256(images.tobytes()), size, counts, seed)


def disjoint_draws(dataset: Dataset, size: int, seed: int) -> tuple[Pixels, Pixels]:
    """Two such draws of `size` images each, which have no image in common.

    Raises:
        DataError: the training split has too few images of a label.
    """
    (left, right), _ = _stratified_draws(dataset, size, seed, 2)
    return left, right


def _stratified_draws(dataset: Dataset, size: int, seed: int, draws: int) -> tuple[list[Pixels], tuple[int, int]]:
    """Disjoint `draws` of `size` training images each, and how many images of each label one draw has."""
    train = dataset.train
    ones = round(size * float(train.labels.mean()))
    counts = size - ones, ones
    random = np.random.default_rng(seed)
    chosen = []
    for label, count in enumerate(counts):
        pool = np.flatnonzero(train.labels == label)
        if draws * count > len(pool):
            raise DataError(
                f"{draws} x {size} calibration images need {draws * count} training images of "
                f"{dataset.labels[label]!r}, but there are {len(pool)}; ask for fewer with --calibration-size."
            )
        chosen.append(random.choice(pool, draws * count, replace=False).reshape(draws, count))
    return [train.images[random.permutation(np.concatenate(own))] for own in zip(*chosen, strict=True)], counts


def check_calibration(images: Pixels, dataset: Dataset) -> list[str]:
    """Warnings, one sentence each, about calibration images, uint8 (N, H, W, C), for a model of `dataset`.

    Raises:
        DataError: they are fewer than `LEAST`, or one of them is a test image, byte for byte.
    """
    if len(images) < LEAST:
        raise DataError(f"{len(images)} calibration images are too few; give at least {LEAST}.")
    different = {image.tobytes() for image in images}
    found = [position for position, image in enumerate(dataset.test.images) if image.tobytes() in different]
    if found:
        first = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        raise DataError(
            f"Calibration images are test images of {dataset.name} (test positions {first}), so the test would prove "
            "nothing; remove the copies from the training split."
        )
    warnings = []
    if len(images) < ENOUGH:
        warnings.append(f"{len(images)} calibration images are few for stable ranges; {ENOUGH} or more are better.")
    if copies := len(images) - len(different):
        warnings.append(f"{copies} of the {len(images)} calibration images are copies of others among them.")
    return warnings
