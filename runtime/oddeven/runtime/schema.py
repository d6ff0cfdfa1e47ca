"""Frozen dataclasses from JSON and back, strictly: no unknown field, no wrong type, and none missing without a default.

A field that was added later has a default, so that a file of an older version, which lacks it, is read.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

from oddeven.runtime.errors import ModelError

T = TypeVar("T")


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON of a dataclass, its fields in the order they are declared; without spaces where `indent` is None."""
    separators = None if indent else (",", ":")
    return json.dumps(dataclasses.asdict(value), indent=indent, separators=separators, ensure_ascii=False) + "\n"


def from_json(cls: type[T], text: str | bytes, where: str) -> T:
    """The dataclass `cls` that the JSON `text` describes.

    Args:
        cls: a dataclass of str, int, float, bool, tuple, Mapping[str, ...], optional and dataclass fields.
        text: UTF-8 JSON.
        where: the file the text came from, for error messages.

    Raises:
        ModelError: the text is not JSON, or a field is unknown, of another type, out of range, or missing and has no
            default.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: not valid JSON ({error}).") from error
    if dataclasses.is_dataclass(cls) and isinstance(data, dict):
        _refuse_future(cls, data, where)
    return typing.cast(T, _decode(cls, data, where))


def _refuse_future(cls: type, data: dict[str, Any], where: str) -> None:
    """A file written by a newer oddeven is named as such before its unknown fields are complained about."""
    ours = getattr(cls, "schema_version", None)
    theirs = data.get("schema_version")
    if isinstance(ours, int) and isinstance(theirs, int) and theirs > ours:
        raise ModelError(
            f"{where}: schema version {theirs} is newer than {ours}, the newest this oddeven reads; "
            "upgrade with: pip install --upgrade oddeven"
        )


def _decode(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`, or a ModelError that says what `where` should have held."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    if origin is not None and issubclass(origin, Mapping):
        _expect(value, dict, where)
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float:
        _expect(value, (int, float), where)
        try:
            return float(value)
        except OverflowError as error:
            raise ModelError(f"{where}: {value!r:.40} is too large for a number.") from error
    if kind is not Any:
        _expect(value, kind, where)
    return value


def _decode_dataclass(cls: type, value: Any, where: str) -> Any:
    _expect(value, dict, where)
    kinds = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(set(value) - set(fields)):
        raise ModelError(
            f"{where}: unknown field {unknown[0]!r}; expected {', '.join(fields)}. If a newer oddeven wrote it, "
            "upgrade with: pip install --upgrade oddeven"
        )
    needed = {name for name, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING}
    if missing := sorted(needed - set(value)):
        raise ModelError(f"{where}: the field {missing[0]!r} is missing.")
    decoded = {name: _decode(kinds[name], item, f"{where}.{name}") for name, item in value.items()}
    try:
        return cls(**decoded)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _decode_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _expect(value, list, where)
    if arguments[-1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(value) != len(arguments):
        raise ModelError(f"{where}: expected {len(arguments)} values, got {len(value)}.")
    return tuple(_decode(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(arguments, value, strict=True)))


def _expect(value: Any, kind: Any, where: str) -> None:
    """JSON knows true and false apart from 1 and 0, and so does this check."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(k.__name__ for k in kinds)
        raise ModelError(f"{where}: expected {expected}, got {type(value).__name__} {value!r:.40}.")
