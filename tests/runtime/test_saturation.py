"""What can overflow in an ONNX file: read without the package onnx, and told in every report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import Counter

import junitparser
import numpy as np
import onnx
import pytest
from conftest import SHIPPED, oddeven_here
from onnx import TensorProto, helper, numpy_helper

from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.device import host_info as machine
from oddeven.runtime.engines import saturation
from oddeven.runtime.engines.saturation import Overflow
from oddeven.runtime.errors import ModelError

NOTE = "right only on CPUs with VNNI or dot product"


@pytest.fixture(scope="module")
def full_range(tmp_path_factory):
    """The artifact folder of the shipped cnn with all 8 bits for its weights, made by the real command."""
    out = tmp_path_factory.mktemp("full")
    done = oddeven_here("export", SHIPPED / "cnn.keras", "--format", "onnx-int8", "--full-range", "--out", out)
    assert (done.returncode, NOTE in done.stdout) == (0, True), done.stderr
    return out / "cnn"


def test_what_export_makes_cannot_overflow_and_says_so(exported):
    manifest = load_manifest(exported)
    assert {record.overflow for record in manifest.files} == {()}
    assert manifest.cpu_features == machine.cpu_features()


def test_what_can_overflow_is_noted_in_manifest_and_every_report(full_range, run, tmp_path):
    (record,) = load_manifest(full_range).files
    assert [found.layer for found in record.overflow[:2]] == ["conv2d", "conv2d_1"]
    assert {found.layer for found in record.overflow[2:]} == {"dense", *(f"familiarity_{part}" for part in range(5))}
    assert all(0 < found.pairs < found.of and 0 <= found.seen < 1 for found in record.overflow)
    assert record.overflow[0].seen > 0.01
    outputs = [x for form in ("json", "junit", "markdown", "html") for x in (f"--{form}", tmp_path / f"out.{form}")]
    done = run("verify", full_range, *outputs)
    assert done.returncode == 0, done.stderr
    assert NOTE in done.stderr
    assert all(NOTE in (tmp_path / f"out.{form}").read_text() for form in ("markdown", "html"))
    (file,) = json.loads((tmp_path / "out.json").read_text())["files"]
    assert file["overflow"] == [dataclasses.asdict(found) for found in record.overflow]
    (check,) = (check for check in file["checks"] if check["name"] == "arithmetic")
    assert check["verdict"] == "PASS"
    assert record.overflow[0].layer in check["reason"]
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "out.junit"))
    (case,) = (case for case in suite if case.name == "arithmetic")
    assert NOTE in case.system_out
    assert suite.failures == suite.skipped == 0


def test_a_file_alone_is_noted_as_well(full_range, run, tmp_path):
    path = full_range / "cnn.int8.onnx"
    done = run("verify", path, "--reference", full_range / "reference.npz", "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    (file,) = json.loads((tmp_path / "out.json").read_text())["files"]
    assert [found["seen"] for found in file["overflow"]] == [None] * 8  # nobody wrote down what was measured
    assert [found["pairs"] for found in file["overflow"]] == [f.pairs for f in saturation.overflows(path)]


def test_weights_are_read_as_onnx_reads_them(full_range):
    model = onnx.load(full_range / "cnn.int8.onnx")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    expected = [array for array in stored.values() if array.dtype == np.int8 and array.ndim > 1]
    found = list(saturation.layers((full_range / "cnn.int8.onnx").read_bytes()))
    assert Counter(layer.kind for layer in found) == {"Conv": 2, "Gemm": 6}
    for layer in found:
        assert any(np.array_equal(layer.weights, array) for array in expected)
    assert found[0].attributes["kernel_shape"] == [3, 3]


def matrix(weights, path, kind="MatMulInteger"):
    """A file of one layer with `weights`, a TensorProto called w."""
    ends = [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 2]),
            helper.make_tensor_value_info("y", TensorProto.INT32, ["n", weights.dims[-1]])]  # fmt: skip
    graph = helper.make_graph([helper.make_node(kind, ["x", "w"], ["y"])], "layer", ends[:1], ends[1:], [weights])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("pair", "overflow"),
    [((64, 64), False), ((64, 65), True), ((127, 1), False), ((127, 2), True), ((-64, -64), False),
     ((-128, -1), True), ((127, -128), False)],
)  # fmt: skip
def test_a_pair_overflows_where_the_largest_products_do_not_fit_16_bits(pair, overflow, tmp_path):
    largest = max(abs(255 * a + 255 * b) for a, b in (pair, (pair[0], 0), (0, pair[1])))
    assert overflow == (largest >= 2**15)
    for raw in (True, False):
        values = np.array(pair, np.int8)[:, None]
        stored = (
            numpy_helper.from_array(values, "w") if raw else helper.make_tensor("w", TensorProto.INT8, (2, 1), pair)
        )
        found = saturation.overflows(matrix(stored, tmp_path / "m.onnx"))
        assert found == ((Overflow("y", 1, 1),) if overflow else ())


def test_uint8_weights_never_overflow_and_unseen_ones_may(tmp_path):
    stored = numpy_helper.from_array(np.full((2, 1), 255, np.uint8), "w")
    assert saturation.overflows(matrix(stored, tmp_path / "m.onnx")) == ()
    elsewhere = TensorProto(name="w", dims=(2, 1), data_type=TensorProto.INT8, data_location=TensorProto.EXTERNAL)
    elsewhere.external_data.add(key="location", value="weights.bin")
    assert saturation.overflows(matrix(elsewhere, tmp_path / "m.onnx"))


def test_a_damaged_file_is_one_sentence(full_range, tmp_path):
    content = (full_range / "cnn.int8.onnx").read_bytes()
    random, path = np.random.default_rng(0), tmp_path / "damaged.onnx"
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 4):
            damaged[place] = random.integers(256)
        path.write_bytes(bytes(damaged[: random.integers(1, len(content))]))
        with contextlib.suppress(ModelError):  # it may be still an ONNX file
            saturation.overflows(path)
    with pytest.raises(ModelError, match="Cannot read"):
        saturation.overflows(tmp_path / "absent.onnx")


def test_a_cpuinfo_that_the_cpu_contradicts_is_not_believed(tmp_path, monkeypatch):
    """A process under qemu-user may see the host's; no CPU is both x86 and ARM."""
    host = tmp_path / "cpuinfo"
    host.write_text(f"flags\t\t: fpu {' '.join(machine.FEATURES)}\n")
    real = machine.cpu_features()
    monkeypatch.setattr(machine, "CPUINFO", host)
    assert set(machine.cpu_features()) == set(real) - {"avx_vnni", "i8mm"}


def test_info_names_the_cpu_features(run):
    assert tuple(json.loads(run("info", "--json").stdout)["cpu"]) == machine.cpu_features()
