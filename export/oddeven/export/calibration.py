"""Which training pictures set the quantized ranges."""

from __future__ import annotations

import numpy as np

from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256
from oddeven.runtime.spec import Calibration
from oddeven.runtime.tensor import Pixels
from oddeven.train.dataset import Dataset

DEFAULT_SIZE = 500


def draw(dataset: Dataset, size: int = DEFAULT_SIZE, seed: int = 0) -> tuple[Pixels, Calibration]:
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
    ones = round(size * float(train.labels.mean()))
    counts = (size - ones, ones)
    chosen = [
        random.choice(np.flatnonzero(train.labels == label), count, replace=False) for label, count in enumerate(counts)
    ]
    images = train.images[random.permutation(np.concatenate(chosen))]
    source = f"{dataset.name} training split"
    return images, Calibration(source, sha256(images.tobytes()), size, counts, seed)
