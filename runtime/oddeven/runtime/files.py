"""Whole files or none: written to a temporary name in the same folder, then renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oddeven.runtime.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is removed.

    The temporary name is fixed (`.partial-NAME`, same suffix), so what a killed run left is overwritten by
    the next one. The data is on disk before the rename.

    Raises:
        OutputError: the folder or file cannot be written, or the disk is full.
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write(path: Path, content: bytes | str) -> None:
    """Write the whole of `content` (text as UTF-8) to `path`, or nothing.

    Raises:
        OutputError: as `replacing`.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def writable_folder(path: Path) -> Path:
    """Make the folder `path` if need be and prove that a file can be written in it, before hours of work.

    Raises:
        OutputError: it is a file, or cannot be made or written to.
    """
    probe = path / ".partial-probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"oddeven")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"Cannot write to the folder {path}: {error.strerror or error}.") from error
    return path


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()
