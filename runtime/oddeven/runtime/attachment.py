"""A model file that carries its ModelSpec, and a digest of itself.

A `.tflite` file gets a ZIP archive appended with `metadata.json`, `labels.txt` and `sha256.txt`, TFLite's own
convention for associated files: `zipfile` opens it and every interpreter ignores it. A `.keras` file is a ZIP archive
already and gets one more entry. An `.onnx` file has its own metadata; the digest is its last property, so that it
covers all that comes before.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
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


def attach_to_tflite(model: bytes, spec: ModelSpec) -> bytes:
    """The flatbuffer `model` with `spec` and its digest behind it."""
    digest = hashlib.sha256(model).hexdigest()
    labels = "\n".join(spec.labels) + "\n"
    return _append(model, {TFLITE_ENTRY: to_json(spec), LABELS_ENTRY: labels, DIGEST_ENTRY: digest})


def seal_onnx(model: bytes) -> bytes:
    """The serialised `onnx.ModelProto` with its digest as one more metadata property."""
    return model + SEAL + hashlib.sha256(model).hexdigest().encode()


def check_onnx(path: Path) -> None:
    """Refuse an `.onnx` file that is not as it was sealed; one without a seal is taken as it is.

    Raises:
        ModelError: the digest does not match, or the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
    model, seal = content[: -len(SEAL) - DIGITS], content[-len(SEAL) - DIGITS :]
    if seal.startswith(SEAL):
        _check(path, model, seal[len(SEAL) :])


def attach_to_keras(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the `.keras` archive at `path`, which nobody reads yet."""
    path.write_bytes(_append(path.read_bytes(), {KERAS_ENTRY: to_json(spec)}))


def read_spec(path: Path) -> ModelSpec | None:
    """The spec inside a `.tflite` or `.keras` file, or None for a file that carries none.

    Raises:
        ModelError: the file is not as it was made, its spec is of a newer schema, or it cannot be read.
    """
    entry = KERAS_ENTRY if path.suffix == ".keras" else TFLITE_ENTRY
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        return None
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
    with archive:
        names = archive.namelist()
        if entry not in names:
            return None
        try:
            text = archive.read(entry)
            digest = archive.read(DIGEST_ENTRY) if DIGEST_ENTRY in names else None
        except zipfile.BadZipFile as error:
            raise _damaged(path) from error
        start = min(info.header_offset for info in archive.infolist())
    if digest is not None:
        _check(path, path.read_bytes()[:start], digest)
    return from_json(ModelSpec, text, f"{path}: {entry}")


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
