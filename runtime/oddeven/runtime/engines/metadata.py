"""A model file that carries its ModelSpec, and a digest of itself.

A `.tflite` file gets a ZIP archive appended with `metadata.json`, `labels.txt` and `sha256.txt`, TFLite's own
convention for associated files: `zipfile` opens it and every interpreter ignores it. A `.keras` file is a ZIP archive
already and gets one more entry. An `.onnx` file has its own metadata; the digest is its last property, so that it
covers all that comes before.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.errors import ModelError
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import ModelSpec

ONNX_KEY = "oddeven"
TFLITE_ENTRY = "metadata.json"
LABELS_ENTRY = "labels.txt"
DIGEST_ENTRY = "sha256.txt"
KERAS_ENTRY = "oddeven.json"
# An entry of ModelProto.metadata_props in protobuf's wire format, up to the 64 hexadecimal digits of its value.
SEAL = b"\x72\x52\x0a\x0eoddeven.sha256\x12\x40"
DIGITS = 64
MOST_BYTES = 1 << 20  # of an entry: specs have a thousand or two, and an archive may promise any number
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What `zipfile` raises on archives that are damaged, encrypted or packed in a way it does not know.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError,
              struct.error)  # fmt: skip


@dataclass(frozen=True)
class ModelFile:
    """A model file as it was read, once, so that whoever opens it later opens the same.

    Attributes:
        content: its bytes.
        spec: as attached to a `.tflite` file; an `.onnx` file's is read with its graph.
        sealed: it carries a digest, which is right.
    """

    path: Path
    content: bytes
    spec: ModelSpec | None
    sealed: bool


def read_model(path: Path) -> ModelFile:
    """The model file at `path`, its seal checked; one without a seal is taken as it is.

    Raises:
        ModelError: as `read_spec`.
    """
    content = _content(path)
    if path.suffix == ".onnx":
        return ModelFile(path, content, None, _check_onnx(path, content))
    spec, sealed = _attached(path, content, TFLITE_ENTRY)
    return ModelFile(path, content, spec, sealed)


def attach_to_tflite(model: bytes, spec: ModelSpec) -> bytes:
    """The flatbuffer `model` with `spec` and its digest behind it."""
    digest = hashlib.sha256(model).hexdigest()
    labels = "\n".join(spec.labels) + "\n"
    return _append(model, {TFLITE_ENTRY: to_json(spec), LABELS_ENTRY: labels, DIGEST_ENTRY: digest})


def seal_onnx(model: bytes) -> bytes:
    """The serialised `onnx.ModelProto` with its digest as one more metadata property."""
    return model + SEAL + hashlib.sha256(model).hexdigest().encode()


def _check_onnx(path: Path, content: bytes) -> bool:
    """Whether an `.onnx` file is sealed; one that is not as it was sealed is refused."""
    model, seal = content[: -len(SEAL) - DIGITS], content[-len(SEAL) - DIGITS :]
    if not seal.startswith(SEAL):
        return False
    _check(path, model, seal[len(SEAL) :])
    return True


def attach_to_keras(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the `.keras` archive at `path`, which nobody reads yet."""
    path.write_bytes(_append(path.read_bytes(), {KERAS_ENTRY: to_json(spec)}))


def read_spec(path: Path) -> ModelSpec | None:
    """The spec inside a `.tflite` or `.keras` file, or None for a file that carries none.

    Raises:
        ModelError: the file is not as it was made, its spec is of a newer schema, or it cannot be read.
    """
    return _attached(path, _content(path), KERAS_ENTRY if path.suffix == ".keras" else TFLITE_ENTRY)[0]


def _content(path: Path) -> bytes:
    if not os.path.isfile(path):
        raise ModelError(f"There is no model file {path}.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error


def _attached(path: Path, content: bytes, entry: str) -> tuple[ModelSpec | None, bool]:
    """The spec in the archive that `content` ends in, and whether a digest proves that it is as it was made."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        return None, False
    except UNREADABLE as error:
        raise _damaged(path) from error
    with archive:
        names = archive.namelist()
        if entry not in names:
            return None, False
        try:
            text = _unpacked(archive, entry)
            digest = _unpacked(archive, DIGEST_ENTRY) if DIGEST_ENTRY in names else None
        except UNREADABLE as error:
            raise _damaged(path) from error
        start = min(info.header_offset for info in archive.infolist())
    if digest is not None:
        _check(path, content[:start], digest)
    return from_json(ModelSpec, text, f"{path}: {entry}"), digest is not None


def _unpacked(archive: zipfile.ZipFile, entry: str) -> bytes:
    """The bytes of `entry`, refused where they would be more than a spec can have."""
    info = archive.getinfo(entry)
    if info.compress_type not in METHODS or info.file_size > MOST_BYTES:
        raise zipfile.BadZipFile(f"{entry} has {info.file_size} bytes, packed by method {info.compress_type}")
    return archive.read(entry)


def _check(path: Path, model: bytes, digest: bytes) -> None:
    if hashlib.sha256(model).hexdigest().encode() != digest:
        raise _damaged(path)


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged: it is not as it was exported. Copy or export it again.")


def _append(archive: bytes, entries: dict[str, str]) -> bytes:
    """`archive` with `entries` added, each dated 1980 so that equal content gives equal bytes."""
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a") as zipped:
        for name, text in entries.items():
            zipped.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()
