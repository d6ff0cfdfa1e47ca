"""A model file that carries its ModelSpec, and a digest of itself.

A `.tflite` file gets a ZIP archive appended with `metadata.json`, `labels.txt` and `sha256.txt`, TFLite's own
convention for associated files: `zipfile` opens it and every interpreter ignores it. A `.keras` file is a ZIP archive
already and gets one more entry. The ZIP archive of a C library has `metadata.json` in the library's folder. An `.onnx`
file has its own metadata; the digest is its last property, so that it covers everything before it.
"""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import DAMAGED, read_model_part, sha256
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


@dataclass(frozen=True)
class ModelFile:
    """A model file as it was read, once, so that whoever opens it later opens the same.

    Attributes:
        content: its bytes.
        spec: as attached to a `.tflite` or `.keras` file; an `.onnx` file's is read with its graph.
        sealed: it carries a digest, which is right.
    """

    path: Path
    content: bytes
    spec: ModelSpec | None
    sealed: bool

    def spec_or(self, given: ModelSpec | None) -> ModelSpec:
        """Its own spec, or else the `given` one.

        Raises:
            ModelError: there is neither.
        """
        spec = self.spec or given
        if spec is None:
            raise ModelError(
                f"{self.path} carries no ModelSpec, so its labels are unknown. If oddeven export made it, it was cut "
                "off: copy it again. If not, give it one with oddeven attach-spec."
            )
        return spec


def read_model(path: Path) -> ModelFile:
    """The model file at `path`, its seal checked; a file without a seal is read too.

    Raises:
        ModelError: the file is missing or not as it was made, its spec is of a newer schema, or it cannot be read.
    """
    if not os.path.isfile(path):
        raise ModelError(f"There is no model file {path}.")
    content = read_model_part(path)
    if path.suffix == ".onnx":
        model, seal, digits = content.rpartition(SEAL)
        text, digest = b"", digits if seal and len(digits) == DIGITS else None
    else:
        entry = KERAS_ENTRY if path.suffix == ".keras" else TFLITE_ENTRY
        text, model, digest = _read_archive(path, content, entry)
    if digest is not None and sha256(model).encode() != digest:
        raise _damaged(path)
    spec = from_json(ModelSpec, text, f"{path}: {entry}") if text else None
    return ModelFile(path, content, spec, digest is not None)


def read_spec(path: Path) -> ModelSpec | None:
    """The spec inside a `.tflite` or `.keras` file, or None for a file that carries none.

    Raises:
        ModelError: as `read_model`.
    """
    return read_model(path).spec


def attach_to_tflite(model: bytes, spec: ModelSpec) -> bytes:
    """The flatbuffer `model` with `spec` and its digest appended."""
    named = {LABELS_ENTRY: spec.labels} | {labels_entry(locale): names for locale, names in spec.display_names.items()}
    labels = {entry: "\n".join(names) + "\n" for entry, names in named.items()}
    return _append(
        model, {TFLITE_ENTRY: to_json(spec, indent=None), **labels, DIGEST_ENTRY: sha256(_without_archive(model))}
    )


def labels_entry(locale: str) -> str:
    """The entry with the names of the labels in a language."""
    return f"labels_{locale}.txt"


def _without_archive(model: bytes) -> bytes:
    """What comes before the archive that a file from elsewhere may have already, with labels of its own."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return model[: min((info.header_offset for info in archive.infolist()), default=len(model))]
    except DAMAGED:
        return model


def attach_to_onnx(model: bytes, spec: ModelSpec) -> bytes:
    """The serialised `onnx.ModelProto` with `spec` and its digest as two more metadata properties."""
    key, value = (_field(number, text.encode()) for number, text in ((1, ONNX_KEY), (2, to_json(spec))))
    return seal_onnx(model + _field(14, key + value))


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes: its number, its length as a varint, its content."""
    size, length = len(content), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def seal_onnx(model: bytes) -> bytes:
    """The serialised `onnx.ModelProto` with its digest as one more metadata property."""
    return model + SEAL + sha256(model).encode()


def attach_to_keras(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the `.keras` archive at `path`, which nobody reads yet."""
    path.write_bytes(_append(path.read_bytes(), {KERAS_ENTRY: to_json(spec)}))


def _read_archive(path: Path, content: bytes, entry: str) -> tuple[bytes, bytes, bytes | None]:
    """`entry` of the archive that `content` ends in, what comes before the archive, and the digest of that."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        return b"", content, None
    except DAMAGED as error:
        raise _damaged(path) from error
    with archive:
        names = archive.namelist()
        found = [name for name in names if name.rpartition("/")[2] == entry]
        if len(found) != 1:
            return b"", content, None
        try:
            text = _unpack(archive, found[0])
            digest = _unpack(archive, DIGEST_ENTRY) if DIGEST_ENTRY in names else None
        except DAMAGED as error:
            raise _damaged(path) from error
        start = min(info.header_offset for info in archive.infolist())
    return text, content[:start], digest


def _unpack(archive: zipfile.ZipFile, entry: str) -> bytes:
    """The bytes of `entry`, refused where they would be more than a spec can have."""
    info = archive.getinfo(entry)
    if info.compress_type not in METHODS or info.file_size > MOST_BYTES:
        raise zipfile.BadZipFile(f"{entry} has {info.file_size} bytes, packed by method {info.compress_type}")
    return archive.read(entry)


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged: it is not as it was exported. Copy or export it again.")


def _append(archive: bytes, entries: dict[str, str | bytes]) -> bytes:
    """`archive` with `entries` added, each dated 1980 so that equal content gives equal bytes."""
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a") as zipped:
        for name, text in entries.items():
            zipped.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()
