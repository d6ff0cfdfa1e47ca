"""A network as a C library: one folder, packed as the ZIP file that the Arduino IDE takes and everybody can unpack."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from math import prod
from pathlib import Path
from string import Template

import numpy as np

from oddeven.export.c.graph import Operator, Tensor, read_graph
from oddeven.export.c.kernels import Kernel, kernel
from oddeven.runtime.engines.compiled import SECOND_OUTPUT, identifier
from oddeven.runtime.engines.metadata import TFLITE_ENTRY
from oddeven.runtime.engines.quantization import TensorInfo, decode, dequantize, encoder
from oddeven.runtime.errors import ModelError
from oddeven.runtime.familiarity import NAME, familiarities
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec

TEMPLATE = Path(__file__).parent / "template"
LINE, NEWLINE = re.compile("(.{1,115},) "), r"\1\n"
BRACES = str.maketrans("()", "{}")
ALIGNMENT = 4
# What the larger microcontrollers have in one piece: an STM32H743 has 2 MB of flash and 512 kB of RAM.
MOST_FLASH_BYTES, MOST_ARENA_BYTES = 2 << 20, 512 << 10
LEVELS = np.arange(256, dtype=np.uint8)


def c_library(model: bytes, spec: ModelSpec) -> bytes:
    """The ZIP file of the C library for an int8 `.tflite` file; equal input gives equal bytes.

    Raises:
        ModelError: the file is too large or of another precision, its input is not the pixels, or it lacks a kernel.
    """
    operators, source, sinks = read_graph(model)
    if not np.array_equal(encoder(_info(source), spec.input)(LEVELS), LEVELS):
        values = f"{spec.input.low:g} to {spec.input.high:g}"
        raise ModelError(
            f"The input of {spec.name} is not the pixels themselves but {values}; C is made of models where it is: "
            "begin the model with a Rescaling layer that takes 0 to 255."
        )
    kernels = [kernel(operator) for operator in operators]
    offsets, arena_bytes = arena(operators, sinks)
    flash_bytes = sum(field.nbytes for made in kernels for field in made.fields if isinstance(field, np.ndarray))
    if flash_bytes > MOST_FLASH_BYTES or arena_bytes > MOST_ARENA_BYTES:
        raise ModelError(
            f"{spec.name} is not for microcontrollers: it needs {flash_bytes:,} bytes of flash and an arena of "
            f"{arena_bytes:,} bytes; expected at most {MOST_FLASH_BYTES:,} and {MOST_ARENA_BYTES:,}."
        )
    steps = enumerate(zip(operators, kernels, strict=True))
    texts = [_step(number, operator, made, offsets) for number, (operator, made) in steps]
    name, meaning = identifier(spec.name), spec.familiarity
    known = replace(_info(sinks[1]), name=NAME, shape=(-1, 1)) if len(sinks) > 1 else None
    fields = {
        **vars(spec.input), "name": name, "NAME": name.upper(), "version": version("oddeven"),
        "flash_bytes": flash_bytes, "arena_bytes": arena_bytes, "result": offsets[sinks[0].place],
        "constants": "".join(text for text, _ in texts), "calls": "\n".join(call for _, call in texts),
        "threshold": int(np.count_nonzero(decode(LEVELS, _info(sinks[0])) <= spec.threshold)) - 1,
        "familiarity": f"(uint8_t)arena[{offsets[sinks[1].place]}]" if known else "255",
        "min_familiarity": int((familiarities(dequantize(LEVELS, known), meaning) < spec.min_familiarity).sum())
        if known and meaning else 0,
        "label_0": _quoted(spec.labels[0]), "label_1": _quoted(spec.labels[1]),
        "plain_0": spec.labels[0], "plain_1": spec.labels[1],
    }  # fmt: skip
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(path for path in TEMPLATE.rglob("*") if path.is_file()):
            place = path.relative_to(TEMPLATE).as_posix().replace("MODEL", name)
            _pack(archive, f"oddeven_{name}/{place}", Template(path.read_text()).substitute(fields))
        _pack(archive, f"oddeven_{name}/{TFLITE_ENTRY}", to_json(spec))
        if known:
            _pack(archive, f"oddeven_{name}/{SECOND_OUTPUT}", to_json(known))
    return packed.getvalue()


def arena(operators: Sequence[Operator], sinks: Sequence[Tensor]) -> tuple[Mapping[int, int], int]:
    """The offset in bytes of every computed tensor in the arena, by its place, and the arena's size.

    Tensors that are not needed at the same time share bytes; the outputs `sinks` are needed to the end. The largest is
    placed first, each at the lowest offset that is free as long as it lives (greedy by size; Pisarchyk and Lee, 2020,
    Efficient memory management for deep neural net inference).
    """
    sizes = {step.output.place: prod(step.output.shape) for step in operators}
    born = {step.output.place: now for now, step in enumerate(operators)}
    dies = born | {x.place: now for now, step in enumerate(operators) for x in step.inputs}
    dies |= {x.place: len(operators) for x in sinks}
    offsets: dict[int, int] = {}
    for own in sorted(sizes, key=lambda place: -sizes[place]):
        beside = [other for other in offsets if born[other] <= dies[own] and born[own] <= dies[other]]
        free = 0
        for start, stop in sorted((offsets[other], offsets[other] + sizes[other]) for other in beside):
            if free + sizes[own] > start:
                free = max(free, stop + -stop % ALIGNMENT)
        offsets[own] = free
    return offsets, max(offset + sizes[place] for place, offset in offsets.items())


def _info(tensor: Tensor) -> TensorInfo:
    return TensorInfo(tensor.name, (1, *tensor.shape), tensor.dtype, float(tensor.scale[0]), tensor.zero_point)


def _step(number: int, operator: Operator, made: Kernel, offsets: Mapping[int, int]) -> tuple[str, str]:
    """The constants of a call, and the call as a line of C with the layer that it computes."""
    arrays, fields = "", list[str]()
    for field in made.fields:
        if isinstance(field, np.ndarray):
            name, values = f"constant_{number}_{len(fields)}", ", ".join(map(str, field.ravel().tolist()))
            arrays += f"static const {field.dtype}_t {name}[{field.size}] = {{\n{LINE.sub(NEWLINE, values)}}};\n"
        fields.append(name if isinstance(field, np.ndarray) else str(field).translate(BRACES))
    structure = f"{made.structure}_{number}"
    tensors = [x for x in (*operator.inputs, operator.output) if x.data is None]
    places = ", ".join(f"arena + {offsets[x.place]}" if x.place in offsets else "input" for x in tensors)
    call = f"    oddeven_{made.function}(&{structure}, {places}); /* {operator.output.name.replace('*/', '')} */"
    return f"{arrays}static const struct oddeven_{made.structure} {structure} = {{{', '.join(fields)}}};\n", call


def _quoted(text: str) -> str:
    """A C string of it; bytes of UTF-8 that are not plain there become octal escapes."""
    return re.sub(rb"[^ !#->@-\[\]-~]", lambda found: b"\\%03o" % found[0][0], text.encode()).decode()


def _pack(archive: zipfile.ZipFile, name: str, text: str) -> None:
    """An entry dated 1980, so that equal content gives equal bytes."""
    archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
