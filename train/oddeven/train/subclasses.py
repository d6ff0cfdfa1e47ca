"""An auxiliary task: to tell the slices of each label apart, such as the digits among the odd numbers.

The network must see more in an image than the two labels ask for, and predicts them better. Only the training model has
the second output. Caruana, 1997, Multitask learning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels
from oddeven.train.data.dataset import Dataset, Split


@dataclass(frozen=True)
class Subclasses:
    """Slices that hold images of one label each.

    Attributes:
        names: str (K,), of the slices, sorted.
        labels: uint8 (K,), of the images in each.
    """

    names: npt.NDArray[np.str_]
    labels: Labels

    def number(self, split: Split) -> Split:
        """`split` with the position of each image's slice in `names` as its label."""
        numbers: Any = np.searchsorted(self.names, split.slices)
        return replace(split, labels=numbers)

    def targets(self, images: Any, numbers: Any) -> tuple[Any, Any]:
        """What a model `with_subclasses` is trained to predict, from a batch of a split that was numbered."""
        import tensorflow as tf

        labels = tf.gather(tf.constant(self.labels, tf.float32), tf.cast(numbers, tf.int32))
        return images, {"probability": labels, "subclass": numbers}


def find_subclasses(data: Dataset) -> Subclasses | None:
    """The slices of the images to train and validate on, where each has one label and some label has several."""
    slices, labels = (
        np.concatenate([getattr(part, name) for part in (data.train, data.validation)]) for name in ("slices", "labels")
    )
    names, first, numbers = np.unique(slices, return_index=True, return_inverse=True)
    several = len(names) > len(np.unique(labels))
    return Subclasses(names, labels[first]) if several and (labels[first][numbers] == labels).all() else None


def with_subclasses(model: Any, kinds: Subclasses) -> Any:
    """A Keras model that shares the layers of `model` and predicts the subclass too, from the same features."""
    import keras

    subclass = keras.layers.Dense(len(kinds.names), activation="softmax", name="subclass")(model.layers[-2].output)
    return keras.Model(model.inputs, {"probability": model.outputs[0], "subclass": subclass})


def probability(outputs: Any) -> Any:
    """Of label 1, among the outputs or targets of a training model with subclasses or without."""
    return outputs["probability"] if isinstance(outputs, dict) else outputs
