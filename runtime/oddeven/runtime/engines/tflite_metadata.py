"""Google's metadata inside a `.tflite` file, which MediaPipe, ML Kit and Netron read.

Source: metadata_schema.fbs 1.5.0 and TFLite's schema.fbs, whose fields are listed here in the order of their slots.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flatbuffers
from flatbuffers import number_types
from flatbuffers.table import Table

from oddeven.runtime.errors import ModelError

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
GREY, RGB = 2, 1  # ColorSpaceType
TENSOR_AXIS_LABELS = 2  # AssociatedFileType
SCALARS = {"byte": number_types.Int8Flags, "uint": number_types.Uint32Flags, "int": number_types.Int32Flags,
           "float": number_types.Float32Flags}  # fmt: skip
# A field's kind is a scalar, "string", a table, a list of one of these in brackets, a union of tables, which has two
# slots, or "" for a field that is of no interest here.
SCHEMA: Mapping[str, Mapping[str, str]] = {
    "ModelMetadata": {
        "name": "string", "description": "string", "version": "string", "subgraph_metadata": "[SubGraphMetadata]",
        "author": "string", "license": "string", "associated_files": "[AssociatedFile]",
        "min_parser_version": "string",
    },
    "SubGraphMetadata": {
        "name": "string", "description": "string", "input_tensor_metadata": "[TensorMetadata]",
        "output_tensor_metadata": "[TensorMetadata]", "associated_files": "[AssociatedFile]",
    },
    "TensorMetadata": {
        "name": "string", "description": "string", "dimension_names": "[string]", "content": "Content",
        "process_units": "[ProcessUnit]", "stats": "Stats", "associated_files": "[AssociatedFile]",
    },
    "AssociatedFile": {
        "name": "string", "description": "string", "type": "byte", "locale": "string", "version": "string",
    },
    "Content": {
        "content_properties": "FeatureProperties|ImageProperties|BoundingBoxProperties|AudioProperties",
        "range": "ValueRange",
    },
    "ImageProperties": {"color_space": "byte", "default_size": "ImageSize"},
    "ImageSize": {"width": "uint", "height": "uint"},
    "ValueRange": {"min": "int", "max": "int"},
    "ProcessUnit": {"options": "NormalizationOptions|ScoreCalibrationOptions|ScoreThresholdingOptions"},
    "NormalizationOptions": {"mean": "[float]", "std": "[float]"},
    "ScoreCalibrationOptions": {"score_transformation": "byte", "default_score": "float"},
    "ScoreThresholdingOptions": {"global_score_threshold": "float"},
    "Stats": {"max": "[float]", "min": "[float]"},
    "Model": {"version": "uint", "operator_codes": "", "subgraphs": "", "description": "string",
              "buffers": "[Buffer]", "metadata_buffer": "", "metadata": "[Metadata]"},
    "Metadata": {"name": "string", "buffer": "uint"},
    "Buffer": {"data": "[byte]"},
}  # fmt: skip
DAMAGE = (struct.error, IndexError, ValueError, TypeError, KeyError, OverflowError, MemoryError)


def read_metadata(content: bytes, path: Path) -> dict[str, Any] | None:
    """The `ModelMetadata` of the flatbuffer that `content` begins with, as nested dictionaries; None without one.

    Raises:
        ModelError: the metadata are damaged.
    """
    try:
        model = decode("Model", content)
        for entry in model.get("metadata", []):
            if entry.get("name") == NAME:
                block = model["buffers"][entry["buffer"]]["data"]
                if block[4:8] != IDENTIFIER:
                    raise ValueError(f"bytes 4 to 8 are {block[4:8]!r}, not M001")
                return decode("ModelMetadata", block)
    except DAMAGE as error:
        raise ModelError(f"{path}: its {NAME} is damaged ({error}); export or download it again.") from error
    return None


def decode(kind: str, content: bytes) -> dict[str, Any]:
    """The root table of `content`, of a kind in `SCHEMA`; fields that it does not set are left out."""
    return _table(kind, Table(content, flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0)))


def _table(kind: str, table: Any) -> dict[str, Any]:
    fields, slot = {}, 0
    for name, declared in SCHEMA.get(kind, {}).items():
        of, union = declared, "|" in declared
        if union and (chosen := table.Offset(4 + 2 * slot)):
            number = table.Get(number_types.Uint8Flags, chosen + table.Pos)
            of = dict(enumerate(declared.split("|"), 1)).get(number, "")
        slot += union
        if of and (offset := table.Offset(4 + 2 * slot)):
            value = _value(of, table, offset + table.Pos)
            fields[name] = {of: value} if union else value
        slot += 1
    return fields


def _value(kind: str, table: Any, position: int) -> Any:
    """The value at `position`, which is absolute."""
    if kind in SCALARS:
        return table.Get(SCALARS[kind], position)
    if kind == "string":
        return table.String(position).decode(errors="backslashreplace")
    if not kind.startswith("["):
        return _table(kind, Table(table.Bytes, table.Indirect(position)))
    inner = kind[1:-1]
    start, count = table.Vector(position - table.Pos), table.VectorLen(position - table.Pos)
    if inner == "byte":
        return table.Bytes[start : start + count]
    return [_value(inner, table, start + 4 * i) for i in range(count)]
