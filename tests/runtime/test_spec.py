"""ModelSpec in and out of JSON and of model files."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import pytest

from oddeven.runtime.artifacts.manifest import Manifest
from oddeven.runtime.engines.metadata import attach_to_tflite, read_spec
from oddeven.runtime.errors import ModelError
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import Calibration, InputSpec, ModelSpec, Provenance
from oddeven.runtime.verify.report import Report

PROVENANCE = Provenance("parts", "ab" * 32, "fast", 12, 0, {"keras": "3.15.1"})
SPEC = ModelSpec(
    name="cnn",
    labels=("good", "defective"),
    input=InputSpec(64, 48, 3, low=-1.0, high=1.0, parameters={"margin": 2.0}),
    provenance=PROVENANCE,
    threshold=0.4,
    precision="int8",
    calibration=Calibration("parts training split", "cd" * 32, 500, (250, 250), 0),
)


def changed(**changes):
    return json.dumps({**json.loads(to_json(SPEC)), **changes})


def without(text, *names):
    return json.dumps({name: value for name, value in json.loads(text).items() if name not in names})


def test_json_there_and_back_is_the_same_spec():
    assert from_json(ModelSpec, to_json(SPEC), "test") == SPEC
    assert from_json(ModelSpec, changed(calibration=None), "test") == dataclasses.replace(SPEC, calibration=None)


@pytest.mark.parametrize("cls", [ModelSpec, Manifest, Report])
def test_a_field_that_an_older_version_did_not_write_takes_its_default(cls):
    older = {
        ModelSpec: without(to_json(SPEC), "calibration", "threshold"),
        Manifest: without(to_json(Manifest(SPEC, "", "", "", {}, ())), "schema_version"),
        Report: without(to_json(Report(Policy(), "", {}, 0.0, 0.0, ())), "stability", "broken"),
    }
    read, defaults = from_json(cls, older[cls], "older"), {f.name: f.default for f in dataclasses.fields(cls)}
    for name in defaults.keys() - json.loads(older[cls]).keys():
        assert getattr(read, name) == defaults[name]


def test_a_nested_field_takes_its_default_too():
    older = json.loads(to_json(SPEC))
    del older["input"]["polarity"], older["input"]["parameters"]
    read = from_json(ModelSpec, json.dumps(older), "older")
    assert read == dataclasses.replace(SPEC, input=InputSpec(64, 48, 3, low=-1.0, high=1.0))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected dict, got list"),
        (changed(colour="red"), "unknown field 'colour'"),
        (changed(name=3), "spec.name: expected str, got int 3"),
        (changed(threshold="high"), "spec.threshold: expected int or float, got str"),
        (changed(threshold=True), "got bool True"),
        (changed(threshold=1.0), "must lie between 0 and 1"),
        (changed(labels=["odd"]), "spec.labels: expected 2 values, got 1"),
        (changed(labels=["odd", "odd"]), "two different words"),
        (changed(name="../x"), "cannot be part of a file name"),
        (changed(name="a\\b"), "cannot be part of a file name"),
        (changed(name="a\0b"), "cannot be part of a file name"),
        (changed(precision="int3"), "unknown precision 'int3'"),
        (changed(input={"height": 1}), "spec.input: the field 'channels' is missing"),
        (changed(threshold=10**400), "too large"),
        ("[" * 100_000, "not valid JSON"),
        (changed(schema_version=99, colour="red"), "schema version 99 is newer"),
    ],
)
def test_what_is_not_a_spec_is_refused_by_name(text, says):
    with pytest.raises(ModelError) as caught:
        from_json(ModelSpec, text, "spec")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("height", 0), ("channels", 2), ("polarity", "sideways"), ("low", 1.0), ("high", float("nan"))],
)
def test_an_impossible_input_is_refused(field, value):
    with pytest.raises(ValueError, match=r"input|range|polarity"):
        dataclasses.replace(SPEC.input, **{field: value})


def test_a_tflite_file_carries_its_spec_as_associated_files(tmp_path):
    flatbuffer = b"\x1c\x00\x00\x00TFL3" + bytes(100)
    whole = attach_to_tflite(flatbuffer, SPEC)
    assert whole.startswith(flatbuffer)
    assert whole == attach_to_tflite(flatbuffer, SPEC)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.read("labels.txt") == b"good\ndefective\n"
        assert json.loads(archive.read("metadata.json"))["name"] == "cnn"
    (tmp_path / "cnn.tflite").write_bytes(whole)
    (tmp_path / "bare.tflite").write_bytes(flatbuffer)
    assert read_spec(tmp_path / "cnn.tflite") == SPEC
    assert read_spec(tmp_path / "bare.tflite") is None
