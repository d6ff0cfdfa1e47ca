"""`oddeven attach-spec` on .onnx files; docs/your-own-model.md has it on a .tflite file."""

from __future__ import annotations

import re

import onnx
import pytest
from export.own_models import LABELS, onnx_model, write_images

from oddeven.export.onnx_model import read_onnx_model
from oddeven.runtime.engines.metadata import attach_to_onnx, read_model
from oddeven.runtime.engines.registry import open_engine
from oddeven.runtime.errors import ModelError
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance


@pytest.fixture
def bare(tmp_path):
    """A file that takes (N, H, W, C) and carries no spec."""
    onnx.save(read_onnx_model(onnx_model(tmp_path / "existing.onnx")).proto, tmp_path / "bare.onnx")
    return tmp_path / "bare.onnx"


def test_a_bare_file_is_told_its_labels_once(bare, tmp_path, run_here):
    images = write_images(tmp_path / "images", 10)
    command = ["attach-spec", bare, "--labels", ",".join(LABELS)]
    done = run_here(*command)
    assert (done.returncode, "Say which values the model expects" in done.stderr) == (2, True)
    done = run_here(*command, "--range", "-1..1", "--threshold", 2)
    assert (done.returncode, "the threshold 2.0 must lie between 0 and 1" in done.stderr) == (2, True)
    broken = images / "red" / "broken.png"
    broken.write_bytes(b"")
    done = run_here(*command, "--data", images)
    assert (done.returncode, f"1 images of {images} cannot be used.\n" in done.stderr) == (5, True)  # no --max-bad here
    broken.unlink()
    content = bare.read_bytes()
    done = run_here(*command, "--data", images, "--out", tmp_path / "told.onnx")
    assert done.returncode == 0, done.stderr
    assert re.search(r"value range 0\.\.\d+, right for 100\.0% of 20 images", done.stderr)
    assert bare.read_bytes() == content
    done = run_here("predict", images / "red" / "000.png", "--model", tmp_path / "told.onnx")
    assert re.search(r"000\.png +red +[01]\.\d+", done.stdout)
    done = run_here("bundle", tmp_path / "told.onnx", "--precision", "float32", "--out", tmp_path / "told.zip")
    assert (done.returncode, "told.selftest.npz: copy it together with the model" in done.stderr) == (4, True)
    said = " ".join(run_here("attach-spec", "--help").stdout.split())
    assert "and so bundles, need the golden predictions that an export makes" in said
    done = run_here("attach-spec", tmp_path / "told.onnx", "--labels", "a,b", "--range", "0..1")
    assert (done.returncode, "carries a spec already, with the labels blue and red" in done.stderr) == (2, True)


def test_a_file_with_channels_first_is_sent_to_export(tmp_path, run_here):
    path = onnx_model(tmp_path / "existing.onnx", batch="n")
    done = run_here("attach-spec", path, "--labels", "a,b", "--range", "0..1")
    assert (done.returncode, "channels first is turned by: oddeven export" in done.stderr) == (4, True)
    done = run_here("attach-spec", "mlp.int8.zip", "--labels", "a,b", "--range", "0..1")
    assert (done.returncode, "expected a .tflite or .onnx file" in done.stderr) == (4, True)


def test_the_spec_is_metadata_that_onnx_reads_and_the_seal_covers(bare):
    # Longer than 16,383 bytes, which a varint of two bytes holds, with a letter of two.
    spec = ModelSpec("ä" * 9000, LABELS, InputSpec(32, 32, 3), Provenance("", "", "", 0, 0, {}))
    bare.write_bytes(attach_to_onnx(bare.read_bytes(), spec))
    assert {"oddeven", "oddeven.sha256"} == {entry.key for entry in onnx.load(bare).metadata_props}
    engine = open_engine(bare)
    assert engine.spec == spec
    engine.close()
    damaged = bytearray(bare.read_bytes())
    damaged[damaged.index(b"photo")] ^= 1
    bare.write_bytes(damaged)
    with pytest.raises(ModelError, match="is damaged"):
        read_model(bare)
