"""A model file that carries its ModelSpec.

A `.tflite` file gets a ZIP archive appended with `metadata.json` and `labels.txt`, TFLite's own convention for
associated files: `zipfile` opens it and every interpreter ignores it. A `.keras` file is a ZIP archive already
and gets one more entry. ONNX has a place of its own for metadata, see `oddeven.runtime.engines`.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from oddeven.runtime.errors import ModelError
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import ModelSpec

ONNX_KEY = "oddeven"
TFLITE_ENTRY = "metadata.json"
LABELS_ENTRY = "labels.txt"
KERAS_ENTRY = "oddeven.json"


def attach_to_tflite(model: bytes, spec: ModelSpec) -> bytes:
    """The flatbuffer `model` with `spec` behind it."""
    return _append(model, {TFLITE_ENTRY: to_json(spec), LABELS_ENTRY: "\n".join(spec.labels) + "\n"})


def attach_to_keras(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the `.keras` archive at `path`, which nobody reads yet."""
    path.write_bytes(_append(path.read_bytes(), {KERAS_ENTRY: to_json(spec)}))


def read_spec(path: Path) -> ModelSpec | None:
    """The spec inside a `.tflite` or `.keras` file, or None for a file that carries none.

    Raises:
        ModelError: there is a spec, but it is damaged or of a newer schema, or the file cannot be read.
    """
    entry = KERAS_ENTRY if path.suffix == ".keras" else TFLITE_ENTRY
    try:
        with zipfile.ZipFile(path) as archive:
            if entry not in archive.namelist():
                return None
            text = archive.read(entry)
    except zipfile.BadZipFile:
        return None
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
    return from_json(ModelSpec, text, f"{path}: {entry}")


def _append(archive: bytes, entries: dict[str, str]) -> bytes:
    """`archive` with `entries` added, each dated 1980 so that equal content gives equal bytes."""
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a") as zipped:
        for name, text in entries.items():
            zipped.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()
