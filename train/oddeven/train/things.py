"""Clip art of all kinds of things, as examples of what a model of colour images was not made for.

Each kind is a sheet of images in train/data/things, made by `benchmarks/things.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.images.decode import decode_image
from oddeven.runtime.spec import InputSpec
from oddeven.train.data import checkout

TILE, COLUMNS = 128, 20  # pixels, and images in a row of a sheet
COMPARED = 2000  # known images at most
DIRECTIONS = 128  # of the features, the ones that vary most
NEIGHBOURS = 20
NEAREST = 0.1  # the share of all things that is looked at
OFTEN = 1.6  # times as many of a kind among these as among all

Floats = npt.NDArray[np.float32]


def things_folder() -> Path | None:
    """Where the sheets are; None where this does not run in a checkout."""
    return checkout.find("things")


def load_things(spec: InputSpec) -> Iterator[tuple[str, Pixels]]:
    """Each kind of thing and its images, uint8 (N, *spec.shape); none where this does not run in a checkout.

    Args:
        spec: of colour images.

    Raises:
        DataError: a sheet is damaged.
    """
    folder = things_folder()
    for path in sorted(folder.glob("*.webp")) if folder else ():
        tiles = decode_image(path, 3).reshape(-1, TILE, COLUMNS, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
        images = [Image.fromarray(tile) for tile in tiles if tile.std() > 10]  # white ones fill up the last row
        yield path.stem, np.stack([np.asarray(image.resize((spec.width, spec.height))) for image in images])


def resembling(known: Floats, things: Mapping[str, Floats]) -> list[str]:
    """The kinds of `things` that a model may well know.

    Things are ranked by their mean cosine to the nearest known images, on features that are whitened. A kind that has
    more than its share among the first is one of these.

    Args:
        known: features of training images, (N, K).
        things: features of images of each kind, (M, K).
    """
    kinds, every = np.repeat(list(things), [len(x) for x in things.values()]), np.concatenate(list(things.values()))
    x = np.concatenate([every, known[:COMPARED]])
    x = (x - every.mean(axis=0)) / (every.std(axis=0) + 1e-3)
    _, spread, directions = np.linalg.svd(x, full_matrices=False)
    x = x @ (directions[:DIRECTIONS].T / (spread[:DIRECTIONS] + 1e-3))
    x /= np.linalg.norm(x, axis=1, keepdims=True) + 1e-9
    cosines = np.sort(x[: len(every)] @ x[len(every) :].T, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
    near = cosines > np.quantile(cosines, 1 - NEAREST)
    return [kind for kind in things if near[kinds == kind].mean() > OFTEN * NEAREST]
