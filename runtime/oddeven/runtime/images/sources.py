"""Which images a user means: files, globs, folders, lists of files, and bytes on stdin.

The one lister of image files: `predict`, `watch`, `verify --data` and training all take the same ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import glob, has_magic
from itertools import chain
from pathlib import Path

from oddeven.runtime.errors import DataError

# The formats that are decoded, with the suffixes that Pillow knows for each. Pillow decodes more formats; a device that
# reads images of unknown origin should not run Ghostscript for one of them.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "PNG": (".apng", ".png"),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
}
SUFFIXES = tuple(sorted(suffix for suffixes in FORMATS.values() for suffix in suffixes))
STDIN = "-"


def expand_paths(paths: Iterable[str]) -> Iterator[tuple[str, Path | bytes | DataError]]:
    """The images meant by `paths`, each with the name to report it under.

    A folder stands for the images at any depth below it, by name; `-` for the bytes of one image on stdin; a path that
    does not exist and has `*`, `?` or `[` in it for the files and folders that it matches, each image once. Where a
    path stands for no image, or a folder below it cannot be read, the error takes the image's place, so that the others
    are still processed.
    """
    for path in paths:
        found: Iterable[Path | DataError]
        if path == STDIN:
            content = sys.stdin.buffer.read()
            yield "stdin", content or DataError("There is nothing on stdin; give an image there, or name files.")
            continue
        if not path:
            yield "''", DataError("The path is empty; name an image or a folder.")
            continue
        if os.path.isdir(path):
            found, none = walk(Path(path)), f"The folder {path} holds no image ({', '.join(SUFFIXES)})."
        elif has_magic(path) and not os.path.exists(path):
            matches = map(walk, map(Path, sorted(glob(path, recursive=True))))
            found, none = dict.fromkeys(chain.from_iterable(matches)), f"No image matches {path}."
        else:
            found, none = [Path(path)], ""
        image = None
        for image in found:
            yield (path if isinstance(image, DataError) else str(image)), image
        if image is None:
            yield path, DataError(none)


def paths_in_list(source: str) -> Iterator[str]:
    """The paths in the file `source`, or on stdin where it is `-`: one a line, empty lines left out.

    A list from Windows may begin with a byte order mark, which is not part of the first path. The bytes of a path are
    those of the file's name, whatever the locale's encoding is.

    Raises:
        DataError: the file cannot be read.
    """
    is_file = source != STDIN
    try:
        file = os.open(source, os.O_RDONLY) if is_file else sys.stdin.fileno()
        lines = os.fdopen(file, encoding="utf-8-sig", errors="surrogateescape", closefd=is_file)
    except OSError as error:
        raise DataError(f"Cannot read the list of files {source}: {error.strerror}.") from error
    return filter(None, (os.fsdecode(line.rstrip("\n").encode(errors="surrogateescape")) for line in lines))


def is_image_name(name: str) -> bool:
    """Whether a file of that name in a folder is an image; hidden ones, such as macOS's `._1.jpg`, are not."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def folders(folder: Path) -> list[Path]:
    """The folders in `folder`, by name, hidden ones left out.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and os.path.isdir(path))
    except OSError as error:
        raise DataError(f"The folder {str(folder)!r} cannot be read: {error.strerror}.") from error


def below(folder: Path, above: Sequence[Path] = ()) -> Iterator[Path]:
    """The images at any depth below `folder`, by name. Links are followed, but not in a circle.

    Args:
        above: real paths of folders that a link must not lead back to.

    Raises:
        DataError: a folder cannot be read, or a link leads back to a folder above it.
    """
    for found in walk(folder, above):
        if isinstance(found, DataError):
            raise found
        yield found


def walk(folder: Path, above: Sequence[Path] = ()) -> Iterator[Path | DataError]:
    """As `below`, with each error in the place of the folder that it is about."""
    waiting = [(folder, tuple(above))]
    while waiting:
        path, above = waiting.pop()
        if not os.path.isdir(path):
            yield path
            continue
        try:
            real, children = path.resolve(), sorted(path.iterdir(), reverse=True)
        except OSError as error:
            yield DataError(f"The folder {str(path)!r} cannot be read: {error.strerror}.")
            continue
        if real in above:
            yield DataError(f"The link {str(path)!r} leads back to {str(real)!r}, a folder above it; remove the link.")
            continue
        waiting += [(child, (*above, real)) for child in children if _is_taken(child)]


def _is_taken(path: Path) -> bool:
    """Whether `path` is a visible folder, or may be an image: a broken link may, so that it is named; a pipe is not."""
    if os.path.isdir(path):
        return not path.name.startswith(".")
    return is_image_name(path.name) and (os.path.isfile(path) or not os.path.exists(path))
