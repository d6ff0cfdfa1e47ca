"""Whole files or none: written to a temporary name in the same folder, then renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tokenize import TokenError

from oddeven.runtime.errors import ModelError, OutputError, UsageError

PARTIAL = re.compile(r"\.partial-[0-9a-f]{16}-.*", re.DOTALL)
LONGEST = 50  # characters of a name that fit into 255 bytes beside the rest
STALE_S = 24 * 3600.0  # no write takes as long as that without touching its file
# What zipfile, zlib and NumPy raise for a damaged archive, such as a `.npz`: RuntimeError where an entry seems to be
# encrypted, or packed by an unknown method, the last two for sizes that no file has.
DAMAGED = (OSError, EOFError, KeyError, ValueError, TypeError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error,
           struct.error, RuntimeError, OverflowError, MemoryError)  # fmt: skip
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, an empty file; on success it becomes `path`, on failure it is removed.

    The body does nothing but write there. The temporary name is new, is never a symbolic link, and ends as `path`
    does; what runs killed more than a day ago left in the folder is removed. Data and name are on disk at the end.

    Raises:
        OutputError: the folder or file cannot be written, the path is no file, or the disk is full. An error that
            names another file passes.
    """
    partial = path.parent / f".partial-{secrets.token_hex(8)}-{path.name[-LONGEST:]}"
    try:
        check_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path.parent, STALE_S)
        partial.open("xb").close()
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        about_other = error.filename is not None and str(error.filename) not in map(str, (partial, path, path.parent))
        if about_other and error.errno not in NO_ROOM:
            raise
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def check_file(path: Path) -> None:
    """Refuse a `path` that is there and is no file: as root, a file would take the place of a device (OutputError)."""
    leads_to_stream = path.is_symlink() and os.readlink(path).startswith("/proc/")  # as /dev/stdout does
    if leads_to_stream or (path.exists() and not path.is_file()):
        raise OutputError(f"Cannot write {path}: it is {'a folder' if path.is_dir() else 'a device or pipe'}.")


def write(path: Path, content: bytes | str) -> None:
    """Write the whole of `content` to `path`, or nothing.

    Text becomes UTF-8. What is no Unicode, such as the bytes of a file's name that are no text, becomes an escape like
    `\\udcff`, as in JSON.

    Raises:
        OutputError: as `replacing`.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def writable_folder(path: Path) -> Path:
    """Make the folder `path` if need be and prove that a file can be written in it, before hours of work.

    Raises:
        OutputError: it is a file, or cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, buffering=0) as probe:
            probe.write(b"oddeven")
    except OSError as error:
        raise OutputError(f"Cannot write to the folder {path}: {error.strerror or error}.") from error
    return path


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other process of oddeven write its results to `folder`, which exists, until the body ends.

    What killed runs left in it and in the folders directly below is removed. The lock is the folder's own, so nothing
    is left of it. A file system without locks is taken as it is.

    Raises:
        UsageError: another process has it.
        OutputError: the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"Cannot write to the folder {folder}: {error.strerror or error}.") from error
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"Another oddeven writes to {folder}; wait until it has ended, or name another folder."
                ) from error
        for place in (folder, *(child for child in folder.iterdir() if child.is_dir())):
            _clear(place, 0.0)
        yield
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """What the file `path` holds. A pipe, which would be waited for, is an OSError like what cannot be read."""
    if path.is_fifo():
        raise OSError("it is a pipe")
    return path.read_bytes()


def read_model_part(path: Path) -> bytes:
    """What `path`, a model file or what is kept beside one, holds.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return read(path)
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


@cache
def _clear(folder: Path, age_s: float) -> None:
    """Remove partial files in `folder` of at least that age; once a process is enough, for it leaves none itself."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if PARTIAL.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime >= age_s:
                os.unlink(entry.path)


def _sync(folder: Path) -> None:
    """Bring the names in `folder` to the disk, where its file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
