"""A folder of images to verify models on: labelled by its subfolders, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.parallel import chunks_of, in_order
from oddeven.runtime.images.preprocess import prepare_each, with_path
from oddeven.runtime.images.sources import below, folders
from oddeven.runtime.spec import InputSpec

SHOWN = 10
UNSORTED = "unsorted"


@dataclass(frozen=True)
class ImageFolder:
    """Images as a model takes them.

    Attributes:
        images: uint8 (N, H, W, C).
        labels: uint8 (N,), positions in the spec's labels; None where no subfolder is named after one.
        slices: str (N,): the folder below the label's, or the label for an image directly in that. Of unlabelled
            images the subfolder, or `UNSORTED` where there is none.
        bad: a sentence for each image that was left out.
    """

    images: Pixels
    labels: Labels | None
    slices: npt.NDArray[np.str_]
    bad: tuple[str, ...]


def load_image_folder(folder: Path, labels: tuple[str, str], spec: InputSpec, max_bad: int | None) -> ImageFolder:
    """Read FOLDER/LABEL/**/IMAGE, or FOLDER/**/IMAGE without labels, by the preprocessing of `spec`.

    Args:
        max_bad: how many unusable images are left out, as --max-bad says; None for none where there is no such option.

    Raises:
        DataError: there is no image, only one of the `labels` or others beside them, a label without images,
            one image under both labels, or more than `max_bad` unusable ones.
    """
    labelled, records = _list_images(folder, labels)
    paths = [path for path, _ in records]
    read = partial(prepare_each, spec=spec, invert="auto", strict=False)
    images, bad = [], {}
    for chunk, (pixels, errors) in zip(chunks_of(paths), in_order(read, chunks_of(paths)), strict=True):
        images.append(pixels)
        bad.update({chunk[position]: with_path(chunk[position], error) for position, error in errors.items()})
    if len(bad) > (max_bad or 0):
        limit = "" if max_bad is None else f"; --max-bad allows {max_bad}"
        said = [f"{len(bad)} images of {folder} cannot be used{limit}."]
        raise DataError("\n  ".join([*said, *list(bad.values())[:SHOWN]]))
    good = [(path, number) for path, number in records if path not in bad]
    if not good:
        raise DataError(f"{folder} holds no usable image.")
    stacked, numbers = np.concatenate(images), np.array([number for _, number in good], np.uint8)
    if labelled:
        _check_labels(folder, [path for path, _ in good], stacked, numbers)
    return ImageFolder(
        stacked,
        numbers if labelled else None,
        np.array([_slice(path.relative_to(folder).parent, labelled) for path, _ in good]),
        tuple(bad.values()),
    )


def _list_images(folder: Path, labels: tuple[str, str]) -> tuple[bool, list[tuple[Path, int]]]:
    """Whether the images in `folder` are labelled, and each image's path and label (0 without labels)."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give one with images, in subfolders {' and '.join(labels)}.")
    names = {path.name for path in folders(folder) if any(below(path))}
    labelled = not names.isdisjoint(labels)
    if labelled and names != set(labels):
        raise DataError(
            f"{folder} has images in the subfolders {', '.join(sorted(names))}; the model tells "
            f"{' from '.join(labels)}, so it needs these two, or neither for images without labels."
        )
    homes = [folder / label for label in labels] if labelled else [folder]
    records = [(path, number) for number, home in enumerate(homes) for path in below(home)]
    if not records:
        raise DataError(f"{folder} holds no image.")
    return labelled, records


def _check_labels(folder: Path, paths: list[Path], images: Pixels, labels: Labels) -> None:
    """Refuse images of one label only, and an image under both."""
    if labels.min() == labels.max():
        raise DataError(f"{folder} has usable images of one label only; give images of both.")
    seen: dict[bytes, tuple[Path, Any]] = {}
    for path, image, label in zip(paths, images, labels, strict=True):
        other, before = seen.setdefault(image.tobytes(), (path, label))
        if before != label:
            raise DataError(f"{other} and {path} are the same image under both labels; remove the wrong one.")


def _slice(folder: Path, labelled: bool) -> str:
    """The name that images in `folder`, relative to the whole, are reported under."""
    return folder.parts[1] if labelled and len(folder.parts) > 1 else next(iter(folder.parts), UNSORTED)
