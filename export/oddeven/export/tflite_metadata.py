"""What a `.tflite` file says of itself in Google's metadata, as far as it is true for the file."""

from __future__ import annotations

from typing import Any

import flatbuffers

from oddeven.export.conversion import Conversion
from oddeven.export.flatbuffer import pack
from oddeven.runtime.engines.metadata import LABELS_ENTRY, labels_entry
from oddeven.runtime.engines.tflite_metadata import GREY, IDENTIFIER, NAME, RGB, SCHEMA
from oddeven.runtime.spec import InputSpec

PARSER = "1.0.0"  # the oldest version of the schema that has all the fields used here


def describe(source: Conversion, outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The `ModelMetadata` of a file made from `source`.

    Args:
        outputs: the metadata of the output tensors; of one probability without them, for which the schema has no
            labels: a reader would take its axis to have as many values as labels.
    """
    spec, about = source.spec, source.about
    negative, positive = spec.labels
    probability = {
        "name": "probability",
        "description": f"The probability of {positive!r}, 0 to 1; {positive!r} is predicted above {spec.threshold:g}, "
        f"else {negative!r}.",
    }
    files = [{"name": LABELS_ENTRY, "description": "The labels of probability 0 and 1, in this order."}]
    metadata = {
        "name": spec.name,
        "description": about.description or f"Tells {negative!r} from {positive!r} in an image.",
        "version": str(about.version),
        "subgraph_metadata": [
            {"input_tensor_metadata": [image(spec.input)], "output_tensor_metadata": outputs or [probability]}
        ],
        "author": about.author,
        "license": about.license,
        "associated_files": [] if outputs else files,
        "min_parser_version": PARSER,
    }
    return {key: value for key, value in metadata.items() if value}


def image(spec: InputSpec) -> dict[str, Any]:
    """The metadata of the input tensor: (pixel - mean) / std is the value that the model takes."""
    std = 255.0 / (spec.high - spec.low)
    how = "" if spec.preprocessing in {"raw", "squash"} else f" Prepared by oddeven's {spec.preprocessing!r} first."
    size = {"width": spec.width, "height": spec.height}
    properties = {"color_space": RGB if spec.channels == 3 else GREY, "default_size": size}
    return {
        "name": "image",
        "description": f"Pixels, {spec.polarity}.{how}",
        "content": {"content_properties": {"ImageProperties": properties}},
        "process_units": [{"options": {"NormalizationOptions": {"mean": [0.0 - spec.low * std], "std": [std]}}}],
        "stats": {"max": [spec.high], "min": [spec.low]},
    }


def label_files(source: Conversion, type_: int) -> list[dict[str, Any]]:
    """The associated files with the labels, and with their names in other languages."""
    own = {"name": LABELS_ENTRY, "description": "The labels, one a line.", "type": type_}
    more = ({**own, "name": labels_entry(locale), "locale": locale} for locale in source.spec.display_names)
    return [own, *more]


def with_metadata(parsed: Any, metadata: dict[str, Any]) -> bytes:
    """The flatbuffer of a `ModelT` with `metadata`, a `ModelMetadata`, in it."""
    from tensorflow.lite.python import schema_py_generated as schema

    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(encode(metadata))
    entry.name, entry.buffer = NAME, len(parsed.buffers)
    parsed.buffers.append(buffer)
    parsed.metadata = [*(parsed.metadata or []), entry]
    return pack(parsed)


def encode(metadata: dict[str, Any]) -> bytes:
    """A `ModelMetadata` as a flatbuffer, with the schema's identifier."""
    builder = flatbuffers.Builder()
    builder.Finish(_write("ModelMetadata", metadata, builder), IDENTIFIER)
    return bytes(builder.Output())


def _write(kind: str, value: Any, builder: flatbuffers.Builder) -> int:
    """Put `value` into the buffer, what it holds before itself; its offset."""
    if kind == "string":
        return int(builder.CreateString(value))
    if kind == "[float]":
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
        return int(builder.EndVector())
    if kind.startswith("["):
        offsets = [_write(kind[1:-1], item, builder) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    return _write_table(kind, value, builder)


def _write_table(kind: str, value: dict[str, Any], builder: flatbuffers.Builder) -> int:
    scalars = {"byte": builder.PrependInt8Slot, "uint": builder.PrependUint32Slot}
    slots, slot = [], 0
    for name, declared in SCHEMA[kind].items():
        of, held = declared, value.get(name)
        if "|" in declared:
            if held:
                ((of, held),) = held.items()
                slots.append((slot, builder.PrependUint8Slot, declared.split("|").index(of) + 1))
            slot += 1
        if held is not None:
            prepend = scalars.get(of, builder.PrependUOffsetTRelativeSlot)
            slots.append((slot, prepend, held if of in scalars else _write(of, held, builder)))
        slot += 1
    builder.StartObject(slot)
    for number, prepend, stored in slots:
        prepend(number, stored, 0)
    return int(builder.EndObject())
