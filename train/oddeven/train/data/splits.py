"""A seeded split by group, with both labels in proportion, that keeps near-duplicate images together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Pixels
from oddeven.runtime.images.encode import to_image
from oddeven.train.data.listing import SPLITS, Record

SHARES = (0.7, 0.15, 0.15)
HASH_SIDE = 16
# Of 256 bits. Saved again as JPEG of quality 80, half of all images move by at most 8 bits, and blurred ones by more
# than any limit; of 72 million pairs of shirts in Fashion-MNIST, which all look alike, 52 are as near as this.
NEAR_BITS = 24
BLOCK = 2048  # rows of the distance matrix at a time

Indices = npt.NDArray[np.int64]


def near_duplicates(hashes: npt.NDArray[np.bool_]) -> Indices:
    """The pairs of images that look the same: perceptual hashes at most `NEAR_BITS` apart.

    Every pair is compared, as one matrix product: seconds for 60,000 images, growing with the square.

    Args:
        hashes: (N, `HASH_SIDE`**2).

    Returns:
        (K, 2), the smaller number first.
    """
    signs = np.where(hashes, 1.0, -1.0).astype(np.float32)
    least = hashes.shape[1] - 2 * NEAR_BITS
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(signs), BLOCK):
        left, right = np.nonzero(signs[start : start + BLOCK] @ signs[start:].T >= least)
        found.append(np.stack([left, right], axis=1)[left < right] + start)
    return np.concatenate(found)


def perceptual_hash(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """How an image looks, uint8 (H, W, 1 or 3), as `HASH_SIDE`**2 bits."""
    import imagehash

    return np.asarray(imagehash.phash(to_image(pixels), hash_size=HASH_SIDE).hash.ravel())


def joined(count: int, pairs: Indices) -> Indices:
    """A number for each of `count` images, equal for those that `pairs`, (K, 2), join."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def assign_splits(records: Sequence[Record], labels: Labels, together: Indices, seed: int) -> Indices:
    """The split of each image, as its number in `SPLITS`.

    Splits that the records give stand; a missing `val` is then taken out of `train`.

    Args:
        records: of the images.
        labels: (N,), 0 or 1.
        together: (K, 2), pairs that stay in one split, besides those of one group.
        seed: of the draw.
    """
    homes = np.array([SPLITS.index(record.split) if record.split else -1 for record in records])
    shares = np.array(SHARES)
    if (homes >= 0).all():
        if (homes == 1).any():
            return homes
        shares[2] = 0.0
        homes[homes == 0] = -1
    free = np.flatnonzero(homes < 0)
    homes[free] = _draw(_units(records, together)[free], labels[free], shares / shares.sum(), seed)
    return homes


def _units(records: Sequence[Record], together: Indices) -> Indices:
    """A number for each image, equal for those that stay in one split."""
    first: dict[str, int] = {}
    grouped = [(first.setdefault(record.group, i), i) for i, record in enumerate(records) if record.group]
    return joined(len(records), np.concatenate([together, np.array(grouped, np.int64).reshape(-1, 2)]))


def _draw(units: Indices, labels: Labels, shares: npt.NDArray[np.float64], seed: int) -> Indices:
    """The split of each image: large units first, each to the split that lacks most of what the unit holds.

    scikit-learn's StratifiedGroupKFold makes equal folds. 15 % would be 3 of 20 of them, and of ten equal groups, which
    fill ten folds, it could give 3 to each of validation and test, or none.
    """
    _, member = np.unique(units, return_inverse=True)
    holds = np.stack([np.bincount(member, labels == label) for label in (0, 1)], axis=1)
    order = np.random.default_rng(seed).permutation(len(holds))
    order = order[np.argsort(-holds[order].sum(axis=1), kind="stable")]
    splits = np.flatnonzero(shares)
    wanted = shares[splits, None] * holds.sum(axis=0)
    lacks, home = wanted.copy(), np.empty(len(holds), np.int64)
    for unit in order:
        best = np.argmax((lacks / wanted) @ holds[unit])
        home[unit] = splits[best]
        lacks[best] -= holds[unit]
    return home[member]
