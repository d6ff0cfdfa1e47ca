"""Real photographs for tests: patches of the two that scikit-learn ships, china.jpg and flower.jpg."""

from __future__ import annotations

from functools import cache

from PIL import Image
from sklearn.datasets import load_sample_images

SIDE = 53  # 8 by 12 patches that do not overlap


@cache
def patches():
    """96 patches of each photograph, by its name."""
    bunch = load_sample_images()
    return {
        name.split(".")[0]: [
            image[top : top + SIDE, left : left + SIDE]
            for top in range(0, image.shape[0] - SIDE + 1, SIDE)
            for left in range(0, image.shape[1] - SIDE + 1, SIDE)
        ]
        for name, image in zip(("china.jpg", "flower.jpg"), bunch.images, strict=True)
    }


def write(folder, counts, names=("china", "flower"), suffix="png"):
    """The first patches as `folder`/name/number.suffix; `names` are the labels for china and flower."""
    for name, source, count in zip(names, ("china", "flower"), counts, strict=True):
        (folder / name).mkdir(parents=True)
        for number, patch in enumerate(patches()[source][:count]):
            Image.fromarray(patch).save(folder / name / f"{number:03}.{suffix}")
    return folder
