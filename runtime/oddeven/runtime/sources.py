"""Which pictures a user means: files, globs, folders, lists of files, and bytes on stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from oddeven.runtime.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
STDIN = "-"


def named(paths: Iterable[str]) -> Iterator[tuple[str, Path | bytes]]:
    """The pictures meant by `paths`, each with the name to report it under.

    A folder stands for the pictures at any depth below it, by name; `-` for the bytes of one picture on stdin; what is
    no file but has `*`, `?` or `[` in it for what it matches.

    Raises:
        DataError: a folder or glob holds no picture, or stdin is empty.
    """
    for path in paths:
        if path == STDIN:
            content = sys.stdin.buffer.read()
            if not content:
                raise DataError("There is nothing on stdin; give a picture there, or name files.")
            yield "stdin", content
        elif Path(path).is_dir():
            yield from _each(below(Path(path)), f"The folder {path} holds no picture ({', '.join(SUFFIXES)}).")
        elif has_magic(path) and not Path(path).exists():
            yield from _each(map(Path, sorted(glob(path, recursive=True))), f"Nothing matches {path}.")
        else:
            yield path, Path(path)


def listed(source: str) -> Iterator[str]:
    """The paths in the file `source`, or on stdin where it is `-`: one a line, empty lines left out.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with sys.stdin if source == STDIN else open(source, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                if path := line.rstrip("\n"):
                    yield path
    except OSError as error:
        raise DataError(f"Cannot read the list of files {source}: {error.strerror}.") from error


def below(folder: Path) -> Iterator[Path]:
    """The pictures at any depth below `folder`, by name."""
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())


def _each(paths: Iterable[Path], otherwise: str) -> Iterator[tuple[str, Path]]:
    """Each path under its own name; the error `otherwise` where there is none."""
    found = False
    for path in paths:
        found = True
        yield str(path), path
    if not found:
        raise DataError(otherwise)
