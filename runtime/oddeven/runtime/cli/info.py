"""`oddeven info`."""

from __future__ import annotations

import dataclasses
import json
import platform
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from oddeven.runtime.artifacts.resolve import bundled, locate
from oddeven.runtime.cli.options import tell_of_path
from oddeven.runtime.device.host_info import cpu_features
from oddeven.runtime.engines.metadata import read_model
from oddeven.runtime.engines.registry import ENGINES, installed, open_engine, open_read, select
from oddeven.runtime.errors import ModelError, OddEvenError
from oddeven.runtime.files import sha256
from oddeven.runtime.spec import ModelSpec

# Archives that are read without an engine: what writes them, and what is said of the engines.
UNOPENED: Mapping[str, tuple[str, Mapping[str, object]]] = {
    ".keras": ("Keras 3", {"engines": {}, "note": "oddeven export makes files that engines run"}),
    ".zip": ("oddeven export --format c", {"engines": {"c": "compiles and runs the code in it, if it is named"}}),
}


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str | None, as_json: bool) -> None:
    """Show what MODEL (a bundled name or a file) is; without it, what is installed here."""
    facts = _about_model(model) if model else _about_here()
    click.echo(json.dumps(facts) if as_json else "\n".join(_lines(facts)))


def _about_here() -> dict[str, object]:
    """Versions, engines, and the bundled models."""
    engines = {name: "installed" if installed(name) else row.install for name, row in ENGINES.items()}
    return {
        "oddeven": _version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_features(),
        "engines": engines,
        "models": {name: str(path) for name, path in bundled().items()},
    }


def _version() -> str:
    try:
        return version("oddeven")
    except PackageNotFoundError:
        return "a checkout that is not installed"


def _about_model(model: str) -> dict[str, object]:
    """The file, its tensors and its spec."""
    from oddeven.runtime.engines.tflite_metadata import read_metadata

    tell_of_path(model)
    path = locate(model)
    found = read_model(path)
    facts = {"file": str(path), "size_bytes": len(found.content), "sha256": sha256(found.content)}
    if path.suffix in UNOPENED:
        maker, own = UNOPENED[path.suffix]
        if not zipfile.is_zipfile(path) or (path.suffix == ".zip" and not found.spec):  # such as a bundle for a Pi
            raise ModelError(f"{path} is damaged, or {maker} did not write it.")
        return {**facts, **own, "spec": _about_spec(found.spec)}
    engine = open_read(found, select(path), threads=1)
    metadata = read_metadata(found.content, path) or {} if path.suffix == ".tflite" else engine.metadata
    engine.close()
    return {
        **facts,
        "engines": {name: _tried(path, name) for name, row in ENGINES.items() if row.reads(path)},
        "input": dataclasses.asdict(engine.input),
        "output": dataclasses.asdict(engine.output),
        **({"familiarity": dataclasses.asdict(engine.familiarity)} if engine.familiarity else {}),
        "metadata": metadata,
        "spec": _about_spec(engine.spec),
    }


def _about_spec(spec: ModelSpec | None) -> object:
    return dataclasses.asdict(spec) if spec else "none; the file says nothing of itself"


def _tried(path: Path, name: str) -> str:
    """Whether an engine can load `path` here, by doing it."""
    try:
        engine = open_engine(path, name)
    except OddEvenError as error:
        return str(error)
    engine.close()
    return f"loads it, version {engine.version}"


def _lines(facts: Mapping[str, object], indent: str = "") -> list[str]:
    """`key: value` lines, nested facts indented."""
    facts = {key: _numbered(value) for key, value in facts.items()}
    width = max((len(key) for key, value in facts.items() if not isinstance(value, Mapping)), default=0)
    lines: list[str] = []
    for key, value in facts.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key.ljust(width)}  {_plain(value)}")
    return lines


def _numbered(value: object) -> object:
    """A list of facts as facts: the only one itself, several by number."""
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        return value
    return value[0] if len(value) == 1 else {str(number): item for number, item in enumerate(value, 1)}


def _plain(value: object) -> str:
    if isinstance(value, (tuple, list)) and value:
        return ", ".join(map(str, value))
    return "-" if value is None or value in ({}, ()) else str(value)
