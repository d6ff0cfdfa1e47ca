"""Who trains, validates and tests: at random by seed, both labels in proportion, and what belongs together stays so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oddeven.train.data.listing import SPLITS, Record

SHARES = (0.7, 0.15, 0.15)
HASH_SIDE = 16
# Of 256 bits. Saved again as JPEG of quality 80, half of all pictures move by at most 8 and blurred ones by more than
# any limit; of 72 million pairs of shirts in Fashion-MNIST, which all look alike, 52 are as near as this.
NEAR_BITS = 24
ROWS = 2048

Bits = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]
Homes = npt.NDArray[np.int64]


def near_duplicates(hashes: Bits) -> Pairs:
    """The pairs of pictures that look the same: perceptual hashes at most `NEAR_BITS` apart.

    Every pair is compared, as one matrix product: seconds for 60,000 pictures, growing with the square.

    Args:
        hashes: (N, `HASH_SIDE`**2).

    Returns:
        (K, 2), the smaller number first.
    """
    signs = np.where(hashes, 1.0, -1.0).astype(np.float32)
    least = hashes.shape[1] - 2 * NEAR_BITS
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(signs), ROWS):
        left, right = np.nonzero(signs[start : start + ROWS] @ signs[start:].T >= least)
        found.append(np.stack([left, right], axis=1)[left < right] + start)
    return np.concatenate(found)


def assign_splits(records: Sequence[Record], labels: Labels, together: Pairs, seed: int) -> Homes:
    """The split of each picture, as its number in `SPLITS`.

    Splits that the records give stand; a missing `val` is then taken out of `train`.

    Args:
        records: of the pictures.
        labels: (N,), 0 or 1.
        together: pairs that must not part, besides those of one group.
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
    units = _units(records, together)[free]
    homes[free] = _draw(units, labels[free], shares / shares.sum(), np.random.default_rng(seed))
    return homes


def _units(records: Sequence[Record], together: Pairs) -> npt.NDArray[np.int64]:
    """A number for each picture, equal for those that must not part."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(records)
    first: dict[str, int] = {}
    grouped = [(first.setdefault(record.group, i), i) for i, record in enumerate(records) if record.group]
    left, right = np.concatenate([together, np.array(grouped, np.int64).reshape(-1, 2)]).T
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _draw(
    units: npt.NDArray[np.int64],
    labels: Labels,
    shares: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """The split of each picture: large units first, each to the split that lacks most of what the unit holds."""
    _, member = np.unique(units, return_inverse=True)
    holds = np.stack([np.bincount(member, labels == label) for label in (0, 1)], axis=1)
    order = random.permutation(len(holds))
    order = order[np.argsort(-holds[order].sum(axis=1), kind="stable")]
    open_to = np.flatnonzero(shares)
    wanted = shares[open_to, None] * holds.sum(axis=0)
    lacks, home = wanted.copy(), np.empty(len(holds), np.int64)
    for unit in order:
        best = np.argmax((lacks / wanted) @ holds[unit])
        home[unit] = open_to[best]
        lacks[best] -= holds[unit]
    return home[member]
