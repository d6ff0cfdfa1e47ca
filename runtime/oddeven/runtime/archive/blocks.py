"""Where the images of an archive are, in blocks that are scored whole or not at all."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oddeven.runtime.errors import DataError, MissingPackageError, extra, needing, reason
from oddeven.runtime.files import sha256
from oddeven.runtime.images.sources import is_image_name

if TYPE_CHECKING:
    from typing import Self

    from oddeven.runtime.images.decode import ImageLike

FOLDER_BLOCK = 5000  # files of a folder in a block
FETCHED = 64  # files of a remote folder that are read at once
RUN = "_oddeven.json"  # in a folder of predictions; readers of Parquet folders leave out what begins with an underscore
TAR = (".tar", ".tar.gz", ".tgz")
PARQUET = (".parquet",)
KEYS, IMAGES = ("key", "path", "__key__"), ("image", "bytes", "jpg", "png")  # usual names of columns
Items = Iterator[tuple[str, "ImageLike"]]


class _Member(tarfile.TarInfo):
    """A member whose header, where it is damaged or cut off, does not pass for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As that of `TarInfo`, with a ReadError for what is neither a header nor the mark at the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):  # the mark at the end
                raise
            raise tarfile.ReadError(str(error)) from error


@dataclass(frozen=True)
class Block:
    """A tar shard, a row group of a Parquet file, a damaged one as a whole, or a run of a folder's files.

    Attributes:
        name: for messages.
        identity: changes when the block does.
        system: of files, fsspec's.
        paths: of the files in it, or of the one file that it is or is in.
        row_group: in a Parquet file; None for all.
    """

    name: str
    identity: str
    system: Any
    paths: Sequence[str]
    row_group: int | None = None

    @property
    def is_local(self) -> bool:
        """Whether its files are read by their paths."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.system, LocalFileSystem)

    def items(self) -> Items:
        """Each image with its key. Where the block breaks off, a DataError takes the place of what is missing."""
        if self.paths[0].endswith(PARQUET):
            return _rows(self)
        if self.paths[0].endswith(TAR):
            return _members(self)
        return _files(self)


def blocks_of(source: str) -> list[Block]:
    """The blocks of a folder, a tar shard or a Parquet file, at a path or at any URL that fsspec opens.

    Raises:
        DataError: there is nothing there, or it cannot be listed.
        MissingPackageError: fsspec, pyarrow, or the package for that kind of URL is not installed.
    """
    if not source:  # which fsspec takes for the working folder
        raise DataError("The source is empty; name a folder, a tar shard or a Parquet file.")
    with needing("Reading an archive", extra("archive")):
        import fsspec
        import pyarrow.parquet as pq
        from pyarrow.lib import ArrowException
    try:
        system, root = fsspec.core.url_to_fs(source)
        found = _find(system, root) if system.isdir(root) else {root: system.info(root)}
        found = {path: info for path, info in found.items() if "/." not in path.removeprefix(root)}  # nothing hidden
        blocks: list[Block] = []
        for path in sorted(found):
            stamp = _stamp(found[path])
            if path.endswith(PARQUET) and f"{path.rpartition('/')[0]}/{RUN}" not in found:
                with suppress(OSError, ArrowException), system.open(path) as file:
                    groups = range(pq.ParquetFile(file).num_row_groups)
                    blocks += [Block(f"{path}#{n}", f"{path}#{n} {stamp}", system, (path,), n) for n in groups]
                    continue
                blocks.append(Block(path, f"{path} {stamp}", system, (path,)))  # its row says what is damaged
            elif path.endswith(TAR):
                blocks.append(Block(path, f"{path} {stamp}", system, (path,)))
        images = sorted(path for path in found if is_image_name(path.rpartition("/")[2]))
    except ImportError as error:  # fsspec's own says which package to install
        raise MissingPackageError(f"{source} cannot be read: {reason(error)}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the archive {source}: {str(error) or type(error).__name__:.200}.") from error
    for start in range(0, len(images), FOLDER_BLOCK):
        run = images[start : start + FOLDER_BLOCK]
        identity = "\n".join(f"{path} {_stamp(found[path])}" for path in run)
        blocks.append(Block(f"{run[0]} ...", identity, system, run))
    if not blocks:
        raise DataError(f"{source} holds no image, no tar shard and no Parquet file.")
    return blocks


def part_name(block: Block) -> str:
    """The file of the block's predictions."""
    return f"part-{sha256(block.identity.encode(errors='surrogateescape'))[:20]}.parquet"


def _find(system: Any, folder: str, above: Sequence[str] = ()) -> dict[str, Mapping[str, Any]]:
    """What fsspec lists of the files at any depth below `folder`, by path. Links are followed, but not in a circle."""
    found: dict[str, Mapping[str, Any]] = {}
    for path, info in system.find(folder, detail=True).items():
        if not info.get("islink") or not system.exists(path):
            found[path] = info
        elif not system.isdir(path):
            found[path] = system.info(path)  # of the file that it leads to
        else:
            target, passed = os.path.realpath(path), (*above, os.path.realpath(os.path.dirname(path)))
            if not any(Path(place).is_relative_to(target) for place in passed):
                found |= _find(system, path, passed)
    return found


def _stamp(info: Mapping[str, Any]) -> str:
    """What changes when a file of fsspec's listing is written again, as far as the listing tells."""
    return f"{info.get('size')} {info.get('mtime') or info.get('ETag') or info.get('etag')}"


def _files(block: Block) -> Items:
    if block.is_local:
        yield from ((path, Path(path)) for path in block.paths)
        return
    for start in range(0, len(block.paths), FETCHED):
        run = list(block.paths[start : start + FETCHED])
        fetched = block.system.cat(run, on_error="return")
        contents = fetched if isinstance(fetched, dict) else {run[0]: fetched}
        for path in run:
            content = contents.get(path, b"")
            yield path, content if isinstance(content, bytes) else DataError(f"{path} cannot be read: {content}.")


def _members(block: Block) -> Items:
    (path,) = block.paths
    try:
        with block.system.open(path) as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as archive:
            for member in archive:
                if member.isfile() and is_image_name(member.name.rpartition("/")[2]):
                    content = archive.extractfile(member)
                    yield f"{path}/{member.name}", content.read() if content else DataError("It has no content.")
    except (OSError, EOFError, tarfile.TarError) as error:
        yield path, DataError(f"The shard {path} breaks off: {str(error) or type(error).__name__:.200}.")


def _rows(block: Block) -> Items:
    import pyarrow.parquet as pq
    from pyarrow.lib import ArrowException

    (path,) = block.paths
    try:
        with block.system.open(path) as file:
            parquet = pq.ParquetFile(file)
            names = parquet.schema_arrow.names
            column = next((name for name in IMAGES if name in names), None)
            if column is None:
                yield path, DataError(f"{path} has the columns {', '.join(names):.200}, none of {', '.join(IMAGES)}.")
                return
            key = next((name for name in KEYS if name in names), None)
            groups = None if block.row_group is None else [block.row_group]
            first = sum(parquet.metadata.row_group(n).num_rows for n in range(block.row_group or 0))
            for batch in parquet.iter_batches(FETCHED, groups, [name for name in (key, column) if name]):
                for row in batch.to_pylist():
                    image = row[column].get("bytes") if isinstance(row[column], dict) else row[column]
                    name = f"{path}#{first}" if key is None or row[key] is None else str(row[key])
                    yield name, image if isinstance(image, bytes) else DataError("There are no bytes in this row.")
                    first += 1
    except (OSError, ArrowException) as error:
        yield path, DataError(f"{block.name} breaks off: {reason(error)}.")
