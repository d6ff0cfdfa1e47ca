"""A folder of pictures as the pictures a gate asks about: labelled by their subfolders, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.parallel import chunks_of, in_order
from oddeven.runtime.images.preprocess import prepare, read
from oddeven.runtime.images.sources import below, folders
from oddeven.runtime.spec import ModelSpec

SHOWN = 10
UNSORTED = "unsorted"


@dataclass(frozen=True)
class ImageFolder:
    """Pictures as a model takes them.

    Attributes:
        images: uint8 (N, H, W, C).
        labels: uint8 (N,), positions in the spec's labels; None where no subfolder is named after one.
        slices: str (N,): the folder below the label's, or the label where a picture lies in that itself. Of unlabelled
            pictures the subfolder, or `UNSORTED` where there is none.
        bad: a sentence for each picture that was left out.
    """

    images: Pixels
    labels: npt.NDArray[np.uint8] | None
    slices: npt.NDArray[np.str_]
    bad: tuple[str, ...]


def load_image_folder(folder: Path, spec: ModelSpec, max_bad: int) -> ImageFolder:
    """Read FOLDER/LABEL/**/PICTURE, or FOLDER/**/PICTURE without labels, by the preprocessing of `spec`.

    Raises:
        DataError: there is no picture, only one of the model's labels or others beside them, a label without pictures,
            one picture under both labels, or more than `max_bad` unusable ones.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give one with pictures, in subfolders {' and '.join(spec.labels)}.")
    names = {path.name for path in folders(folder) if any(below(path))}
    labelled = not names.isdisjoint(spec.labels)
    if labelled and names != set(spec.labels):
        raise DataError(
            f"{folder} has pictures in the subfolders {', '.join(sorted(names))}; the model answers "
            f"{' and '.join(spec.labels)}, so it wants these two, or neither for pictures without labels."
        )
    paths = [(path, number) for number, label in enumerate(spec.labels) for path in below(folder / label)]
    if not labelled:
        paths = [(path, 0) for path in below(folder)]
    if not paths:
        raise DataError(f"{folder} holds no picture.")

    def look(chunk: Any) -> list[Pixels | str]:
        return [_look(path, spec) for path, _ in chunk]

    results = [found for part in in_order(look, chunks_of(paths, len(paths))) for found in part]
    bad = [found for found in results if isinstance(found, str)]
    if len(bad) > max_bad:
        raise DataError(
            "\n  ".join([f"{len(bad)} pictures of {folder} cannot be used; --max-bad allows {max_bad}.", *bad[:SHOWN]])
        )
    good = [(path, label, found) for (path, label), found in zip(paths, results, strict=True)
            if not isinstance(found, str)]  # fmt: skip
    if not good:
        raise DataError(f"{folder} holds no usable picture.")
    if labelled:
        _refuse_contradictions(good)
        if len({label for _, label, _ in good}) < 2:
            raise DataError(f"{folder} has usable pictures of one label only; give pictures of both.")
    return ImageFolder(
        np.stack([found for *_, found in good]),
        np.array([label for _, label, _ in good], np.uint8) if labelled else None,
        np.array([_slice(path.relative_to(folder).parent, labelled) for path, *_ in good]),
        tuple(bad),
    )


def _look(path: Path, spec: ModelSpec) -> Pixels | str:
    try:
        return prepare(read(path, spec.input.channels), spec.input)
    except DataError as error:
        return f"{path}: {error}"


def _slice(folder: Path, labelled: bool) -> str:
    """The name that pictures of `folder`, relative to the whole, are reported under."""
    return folder.parts[1] if labelled and len(folder.parts) > 1 else next(iter(folder.parts), UNSORTED)


def _refuse_contradictions(good: list[tuple[Path, int, Pixels]]) -> None:
    seen: dict[bytes, tuple[Path, int]] = {}
    for path, label, found in good:
        other, before = seen.setdefault(found.tobytes(), (path, label))
        if before != label:
            raise DataError(f"{other} and {path} are the same picture under both labels; remove the wrong one.")
