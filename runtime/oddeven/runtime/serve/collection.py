"""Images that are kept with a label, in the folders that `oddeven train --data` reads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.errors import DataError, UsageError, choose
from oddeven.runtime.files import sha256, writable_folder, write
from oddeven.runtime.images.decode import decode_image, suffix_of
from oddeven.runtime.images.sources import below
from oddeven.runtime.spec import plain

DIGEST = 16  # hexadecimal digits of an image's hash in its name


@dataclass(frozen=True)
class Collection:
    """FOLDER/LABEL/TIME-HASH.SUFFIX, where only labels of `labels` are, and the names are ours."""

    folder: Path
    labels: tuple[str, str]

    def __post_init__(self) -> None:
        """Refuse labels that cannot be folders (UsageError)."""
        for label in self.labels:
            if not plain(label):
                raise UsageError(f"The label {label!r} cannot be the name of a folder, so no image can be kept in it.")

    def keep(self, label: str, content: bytes) -> str:
        """Write the image file `content`, and return its path within the folder. An image is kept once.

        Raises:
            UsageError: there is no such label.
            DataError: it is no image, or it is kept under the other label.
            OutputError: it cannot be written.
        """
        choose("label", label, self.labels)
        decode_image(content, 3)
        digest = sha256(content)[:DIGEST]
        for kept in self.folder.glob(f"[!.]*/[!.]*-{digest}.*"):  # none that a crash left
            if kept.parent.name != label:
                raise DataError(f"This image is kept as {kept.parent.name} already: {kept.name}.")
            return str(kept.relative_to(self.folder))
        name = f"{label}/{time.strftime('%Y%m%d-%H%M%S')}-{digest}{suffix_of(content)}"
        write(self.folder / name, content)
        return name

    def counts(self) -> dict[str, int]:
        """How many images each label has."""
        return {
            label: sum(1 for _ in below(self.folder / label)) if (self.folder / label).is_dir() else 0
            for label in self.labels
        }


def open_collection(folder: Path | None, labels: list[tuple[str, str]]) -> Collection | None:
    """The collection in `folder`, which is made if need be; None without one.

    Args:
        labels: of each model that is served; they must be the same.

    Raises:
        UsageError: they are not, or cannot be the names of folders.
        OutputError: the folder cannot be written to.
    """
    if folder is None:
        return None
    if len(set(labels)) > 1:
        raise UsageError("The models have different labels, so images cannot be kept by label; serve them apart.")
    return Collection(writable_folder(folder), labels[0])
