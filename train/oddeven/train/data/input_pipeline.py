"""Batches as a tf.data pipeline whose every random choice follows from (seed, epoch, step) alone.

So a run that was stopped goes on where it was, and ends where an unbroken one would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.augment import Affine, distort
from oddeven.train.data.dataset import Split

VALUES = 12_500_000  # in a batch that is only predicted


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches in an epoch over `count` images; the last one may be smaller."""
    return math.ceil(count / batch_size)


def evaluation_batch_size(shape: tuple[int, int, int]) -> int:
    """The number of images of that shape that are predicted at a time: large networks keep much of each in memory."""
    return max(16, min(1000, VALUES // math.prod(shape)))


def training_batches(
    split: Split, spec: InputSpec, batch_size: int, augmentation: Affine | None, seed: int, epochs: range
) -> Any:
    """A tf.data.Dataset of (images float32 (B, H, W, C) in the spec's value range, labels float32 (B, 1)).

    It runs through `epochs` one after the other, each in an order of its own.
    """
    import tensorflow as tf

    take = _taker(split, replace(spec, low=0.0, high=1.0))  # in which images are distorted

    def one_epoch(epoch: Any) -> Any:
        mixed = _mix(seed, epoch)

        def batch(step: Any, chosen: Any) -> tuple[Any, Any]:
            images, labels = take(chosen)
            if augmentation is not None:
                images = distort(images, augmentation, tf.stack([mixed, tf.cast(step, tf.int32)]))
            if (spec.low, spec.high) != (0.0, 1.0):
                images = images * (spec.high - spec.low) + spec.low
            return images, labels

        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed=tf.stack([mixed, -1]))
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
        return batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    numbers = tf.data.Dataset.range(epochs.start, epochs.stop)
    return numbers.flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(split: Split, spec: InputSpec, batch_size: int | None = None) -> Any:
    """A tf.data.Dataset of the whole split once, in its order and not augmented; elements as `training_batches`.

    Args:
        batch_size: by default the `evaluation_batch_size`.
    """
    import tensorflow as tf

    size = batch_size or evaluation_batch_size(spec.shape)
    numbers = tf.data.Dataset.range(len(split), output_type=tf.int32).batch(size)
    return numbers.map(_taker(split, spec), num_parallel_calls=2, deterministic=True).prefetch(1)


def _taker(split: Split, spec: InputSpec) -> Callable[[Any], tuple[Any, Any]]:
    """The function from numbers, int32 (B,), to those images and their labels; only they are read into memory."""
    import tensorflow as tf

    labels = tf.constant(split.labels[:, None], tf.float32)

    def take(chosen: Any) -> tuple[Any, Any]:
        images = tf.numpy_function(lambda numbers: to_float(split.images[numbers], spec), [chosen], tf.float32)
        return tf.ensure_shape(images, [None, *spec.shape]), tf.gather(labels, chosen)

    return take


def _mix(seed: int, epoch: Any) -> Any:
    """One int32 for the pair; the multiplier (2**32 over the golden ratio) keeps neighbouring seeds apart."""
    import tensorflow as tf

    return tf.cast((tf.cast(epoch, tf.int64) + seed * 2_654_435_769) % 2_147_483_647, tf.int32)
