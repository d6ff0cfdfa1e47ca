"""Which training pictures set the quantized ranges, and whether some set of pictures is fit to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256
from oddeven.runtime.spec import Calibration
from oddeven.train.data.dataset import Dataset, Split

DEFAULT_SIZE = 500
LEAST = 32  # fewer show too little of what is usual
ENOUGH = 200  # TensorFlow's guide to post-training quantization advises 100 to 500
NARROW = 0.5  # of the span of the training pictures
FAR_BALANCE = 0.15  # over four standard errors, sqrt(.25 / ENOUGH), of a share drawn at random
TELLING_TONES = 32.0  # training pictures whose mean is nearer to mid-grey than half of this have no polarity


def draw_calibration(dataset: Dataset, size: int = DEFAULT_SIZE, seed: int = 0) -> tuple[Pixels, Calibration]:
    """Draw `size` training pictures at random, the labels in the proportion of the training split.

    Returns:
        uint8 (size, H, W, C), and the record of the draw.

    Raises:
        DataError: the training split has fewer pictures than that.
    """
    train = dataset.train
    if size > len(train):
        raise DataError(f"Cannot draw {size} calibration pictures from the {len(train)} that train.")
    random = np.random.default_rng(seed)
    counts = _counts(train, size)
    chosen = _choose(train, counts, random)
    images = train.images[random.permutation(np.concatenate(chosen))]
    source = f"{dataset.name} training split"
    return images, Calibration(source, sha256(images.tobytes()), size, counts, seed)


def disjoint_draws(dataset: Dataset, size: int, seed: int) -> tuple[Pixels, Pixels]:
    """Two disjoint random subsets of the training split, each with its labels in the split's proportion.

    A model quantized with the one should answer as the model quantized with the other; if not, `size` is too small.

    Returns:
        twice uint8 (size, H, W, C).

    Raises:
        DataError: the training split has too few pictures of a label.
    """
    train = dataset.train
    counts = _counts(train, size)
    held = np.bincount(train.labels, minlength=2)
    for label, count, most in zip(dataset.labels, counts, held, strict=True):
        if 2 * count > most:
            raise DataError(
                f"Two disjoint calibration sets of {size} need {2 * count} pictures of {label!r}, "
                f"but {most} train; ask for smaller sets."
            )
    random = np.random.default_rng(seed)
    chosen = _choose(train, (2 * counts[0], 2 * counts[1]), random)
    left = np.concatenate([pool[: len(pool) // 2] for pool in chosen])
    right = np.concatenate([pool[len(pool) // 2 :] for pool in chosen])
    return train.images[random.permutation(left)], train.images[random.permutation(right)]


def check_calibration(images: Pixels, record: Calibration, dataset: Dataset) -> list[str]:
    """Whether `images` are fit to set the ranges of a model of `dataset`.

    Args:
        images: uint8 (N, H, W, C), drawn by `draw` or given by a user.
        record: of these images; class counts of 0 and 0 say that their labels are unknown.
        dataset: whose training pictures they are compared with, and whose test pictures they must not hold.

    Returns:
        Warnings, one sentence each.

    Raises:
        DataError: they are of another shape or dtype, are not those the record counts, are fewer than `LEAST`, or
            hold test pictures, byte for byte.
    """
    expected = dataset.input.shape
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise DataError(
            f"The calibration pictures ({record.source}) are {images.dtype} of shape {images.shape[1:]}; "
            f"expected uint8 of shape {expected}."
        )
    if record.count != len(images) or sum(record.class_counts) not in {0, len(images)}:
        raise DataError(
            f"The calibration record ({record.source}) says {record.count} pictures, by label "
            f"{record.class_counts[0]} and {record.class_counts[1]}, but {len(images)} came; make the record anew."
        )
    if len(images) < LEAST:
        raise DataError(f"{len(images)} calibration pictures ({record.source}) are too few; give at least {LEAST}.")
    digests = _digests(images)
    _refuse_test_pictures(digests, record, dataset)
    return [*_numbers(digests), *_tones(images, dataset.train), *_balance(record, dataset)]


def _counts(train: Split, size: int) -> tuple[int, int]:
    """How many of each label `size` pictures in the proportion of `train` are."""
    ones = round(size * float(train.labels.mean()))
    return size - ones, ones


def _choose(train: Split, counts: tuple[int, int], random: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Random positions in `train`, `counts` of each label, none twice."""
    return [
        random.choice(np.flatnonzero(train.labels == label), count, replace=False) for label, count in enumerate(counts)
    ]


def _digests(images: Pixels) -> list[bytes]:
    """A hash of each picture; equal pictures, and no others, have equal ones."""
    return [hashlib.sha256(image.data).digest() for image in np.ascontiguousarray(images)]


def _refuse_test_pictures(digests: list[bytes], record: Calibration, dataset: Dataset) -> None:
    ours = set(digests)
    found = [position for position, digest in enumerate(_digests(dataset.test.images)) if digest in ours]
    if found:
        taken = set(_digests(dataset.test.images[found]))
        count = sum(digest in taken for digest in digests)
        first = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        raise DataError(
            f"{count} of the {len(digests)} calibration pictures ({record.source}) are test pictures of {dataset.name} "
            f"(test positions {first}), so the test would prove nothing; draw them from the training split."
        )


def _numbers(digests: list[bytes]) -> Iterator[str]:
    count, different = len(digests), len(set(digests))
    if count < ENOUGH:
        yield f"{count} calibration pictures are few for stable ranges; {ENOUGH} or more are better."
    if different < count:
        yield f"{count - different} of the {count} calibration pictures are copies of others among them."


def _tones(images: Pixels, train: Split) -> Iterator[str]:
    """Warnings that the pixels are on another scale than the training pictures', or inverted."""
    low, high = int(images.min()), int(images.max())
    train_low, train_high = int(train.images.min()), int(train.images.max())
    if high <= 1 < train_high:
        yield (
            f"The calibration pixels reach {high} only where training reaches {train_high}: "
            "they seem stored as 0 to 1; multiply them by 255."
        )
    elif high - low < NARROW * (train_high - train_low):
        yield (
            f"The calibration pixels run from {low} to {high}, much narrower than training's {train_low} to "
            f"{train_high}; the quantized ranges will clip what lies outside."
        )
    mean, train_mean = float(images.mean()), float(train.images.mean())
    inverted = 255.0 - train_mean
    telling = abs(inverted - train_mean) >= TELLING_TONES
    if telling and abs(mean - inverted) < abs(mean - train_mean) / 2:
        yield (
            f"The calibration pictures seem inverted: their mean tone is {mean:.0f}, training's is {train_mean:.0f} "
            f"and {inverted:.0f} if inverted."
        )


def _balance(record: Calibration, dataset: Dataset) -> Iterator[str]:
    labelled = sum(record.class_counts)
    if not labelled:
        yield "The calibration record names no labels, so the balance of the classes was not checked."
        return
    share, train_share = record.class_counts[1] / labelled, float(dataset.train.labels.mean())
    if abs(share - train_share) > FAR_BALANCE or 0 in record.class_counts:
        yield (
            f"{share:.0%} of the calibration pictures are {dataset.labels[1]!r}, but {train_share:.0%} of the training "
            "pictures are; draw both labels in the proportion of training."
        )
