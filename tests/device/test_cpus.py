"""The int8 files of all shipped models on CPUs that this machine is not: the same predictions on each."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import SHIPPED, oddeven
from onnx import helper, numpy_helper

from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.artifacts.reference import REFERENCE, load_reference, save_reference
from oddeven.runtime.engines import saturation

ROOT = Path(__file__).parents[2]
ANSWERS, PLAIN = (Path(__file__).with_name(name) for name in ("answers.py", "plain.py"))
EMULATE = ROOT / "tests" / "device" / "emulate.sh"
MODELS = ("mlp", "cnn", "deep_cnn")
COUNT = 200
SUFFIX = {"litert": ".tflite", "onnxruntime": ".onnx"}
# The ends of an ONNX file and its last layer are float32; see test_emulated.py. Measured: 1.8e-7.
BOUND = {"litert": 0.0, "onnxruntime": 1e-5}
X86 = {"Nehalem": set(), "Haswell": {"avx2"}}
ARM = {"cortex-a72": set(), "cortex-a76": {"asimddp"}}
CPUS = [*X86, *ARM]

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not os.environ.get("CI") and not all(map(shutil.which, ("mmdebstrap", "qemu-aarch64-static"))),
        reason="no emulated CPUs: apt-get install mmdebstrap qemu-user-static debian-archive-keyring",
    ),
]


def run(cpu, *command):
    """Python with `command` on another CPU: this one's userland, or a Raspberry Pi's."""
    if cpu in X86:
        if platform.machine() != "x86_64":
            pytest.skip("an x86-64 Python runs only here on one")
        start = ["qemu-x86_64-static", "-cpu", cpu, sys.executable]
    else:
        start = [str(EMULATE), "--cpu", cpu, "--", "python"]
    done = subprocess.run([*start, *map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The int8 files of the shipped models, made and proven on this machine by the real command."""
    out = tmp_path_factory.mktemp("whole")
    models = [SHIPPED / f"{name}.keras" for name in MODELS]
    done = oddeven("export", *models, "--format", "tflite-int8", "--format", "onnx-int8", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def few(whole, tmp_path_factory):
    """The same folders with the first `COUNT` reference pictures."""
    out = tmp_path_factory.mktemp("few")
    for name in MODELS:
        shutil.copytree(whole / name, out / name)
        path = out / name / REFERENCE
        known = load_reference(path)
        first = {key: value[:COUNT] if np.ndim(value) else value for key, value in vars(known).items()}
        save_reference(dataclasses.replace(known, **first), path)
    return [out / name for name in MODELS]


@pytest.fixture(scope="module")
def native(few, tmp_path_factory):
    """What this machine answers, by engine and file."""
    out = tmp_path_factory.mktemp("native")
    for engine in SUFFIX:
        command = [sys.executable, ANSWERS, out / f"{engine}.npz", engine, COUNT, *few]
        subprocess.run(list(map(str, command)), check=True, timeout=300)
    return {engine: dict(np.load(out / f"{engine}.npz")) for engine in SUFFIX}


@pytest.mark.parametrize("model", MODELS)
def test_each_int8_file_is_proven_for_every_cpu_and_answers_here_as_keras_does(whole, model):
    records = load_manifest(whole / model).files
    assert {record.file for record in records} == {f"{model}.int8.tflite", f"{model}.int8.onnx"}
    for record in records:
        assert record.overflow == ()
        assert record.parity.agreement >= 0.9995, record.file
        assert record.parity.drop_pp <= 0.03, record.file


@pytest.mark.parametrize("engine", SUFFIX)
@pytest.mark.parametrize("cpu", CPUS)
def test_every_cpu_answers_as_this_one_does(cpu, engine, few, native, tmp_path):
    run(cpu, ANSWERS, tmp_path / "there.npz", engine, COUNT, *few)
    there = dict(np.load(tmp_path / "there.npz"))
    assert set(there) == {f"{model}.int8{SUFFIX[engine]}" for model in MODELS} == set(native[engine])
    for file, found in there.items():
        assert found.shape == (COUNT,)
        np.testing.assert_allclose(found, native[engine][file], rtol=0, atol=BOUND[engine], err_msg=file)
        np.testing.assert_array_equal(found > 0.5, native[engine][file] > 0.5, err_msg=file)


@pytest.mark.parametrize("cpu", CPUS)
def test_a_report_says_what_the_emulated_cpu_can(cpu):
    told = json.loads(run(cpu, "-m", "oddeven.runtime", "info", "--json"))["cpu"]
    assert set(told) == {**X86, **ARM}[cpu]


def test_a_full_range_file_is_right_here_by_this_runtime_only(few, raw, tmp_path):
    """Without VNNI a plain session is far off; what opens files for oddeven knows of it and sets the option."""
    export = ("--format", "onnx-int8", "--full-range", "--out", tmp_path)
    done = oddeven("export", SHIPPED / "mlp.keras", *export)
    assert done.returncode == 0, done.stderr
    assert "right only on CPUs with VNNI or dot product" in done.stdout
    path = tmp_path / "mlp" / "mlp.int8.onnx"
    shutil.copy(few[0] / REFERENCE, path.parent)
    subprocess.run([sys.executable, ANSWERS, tmp_path / "here.npz", "onnxruntime", "1", path.parent], check=True)
    run("Haswell", ANSWERS, tmp_path / "there.npz", "onnxruntime", "1", path.parent)
    np.save(f"{path}.npy", raw["x_test"][:COUNT, ..., None] / np.float32(255))
    run("Haswell", PLAIN, tmp_path / "plain.npz", path)
    here, there = (np.load(tmp_path / f"{name}.npz")[path.name] for name in ("here", "there"))
    plain = np.load(tmp_path / "plain.npz")[str(path)][:, 0]
    np.testing.assert_allclose(there, here, rtol=0, atol=BOUND["onnxruntime"])
    assert np.abs(plain - here).max() > 100 * BOUND["onnxruntime"]


def one_layer(kind, weights, shape, **attributes):
    """A QDQ graph of one layer whose activations are 8-bit integers as they are, and its output in steps of 512."""
    units = weights.shape[0 if kind == "Conv" else -1]
    constants = {
        "w": weights, "one": np.float32(1), "zero": np.uint8(0), "scales": np.ones(units, np.float32),
        "zeros": np.zeros(units, np.int8), "step": np.float32(512), "middle": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "scales", "zeros"], ["v"], axis=0 if kind == "Conv" else 1),
        helper.make_node(kind, ["d", "v"], ["sum"], **attributes),
        helper.make_node("QuantizeLinear", ["sum", "step", "middle"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "step", "middle"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in (("x", shape), ("y", None))]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def columns(x, weights, group):
    """The activations of a convolution's sums as its terms go: by group, (N, places, terms)."""
    kernel = weights.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))
    n, channels, *places = windows.shape[:4]
    parts = windows.reshape(n, group, channels // group, int(np.prod(places)), *kernel)
    return parts.transpose(1, 0, 3, 4, 5, 2).reshape(group, n, int(np.prod(places)), -1)


def added_in_pairs(x, terms):
    """The sums of products, (N, places, units), each pair of products cut off at 16 bits."""
    odd = terms.shape[0] % 2
    x, terms = np.pad(x, ((0, 0), (0, 0), (0, odd))), np.pad(terms, ((0, odd), (0, 0)))
    pairs = (x[..., None] * terms).reshape(*x.shape[:2], -1, 2, terms.shape[1]).sum(-2)
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(-2)


LAYERS = {
    "dense": ("Gemm", (33, 8), 1), "matrix": ("MatMul", (32, 8), 1), "one channel": ("Conv", (8, 1, 3, 3), 1),
    "three channels": ("Conv", (8, 3, 3, 3), 1), "many channels": ("Conv", (8, 32, 3, 3), 1),
    "five by five": ("Conv", (8, 4, 5, 5), 1), "groups": ("Conv", (8, 3, 3, 3), 2),
    "depthwise": ("Conv", (8, 1, 3, 3), 8), "two each": ("Conv", (16, 1, 3, 3), 8),
}  # fmt: skip


def test_products_are_paired_as_the_proof_says(tmp_path):
    """The proof rests on which products a kernel without VNNI adds in 16 bits: its answers, from that alone."""
    random, expected, exact = np.random.default_rng(0), {}, {}
    for name, (kind, shape, group) in LAYERS.items():
        weights = random.integers(-127, 128, shape).astype(np.int8)
        attributes = {"group": group, "kernel_shape": shape[2:]} if kind == "Conv" else {}
        size = (4, shape[1] * group, 7, 7) if kind == "Conv" else (4, shape[0])
        x, path = random.integers(0, 256, size), f"{tmp_path / name}.onnx"
        onnx.save(one_layer(kind, weights, ["n", *size[1:]], **attributes), path)
        np.save(f"{path}.npy", x.astype(np.float32))
        flat = columns(x, weights, group) if kind == "Conv" else x[None, :, None, :]
        order = np.moveaxis(weights, (0, 1), (-1, -2)).reshape(-1, shape[0]) if kind == "Conv" else weights
        parts = np.split(order.astype(int), group, 1)
        exact[path] = np.concatenate([part @ own for part, own in zip(flat, parts, strict=True)], -1)
        terms = saturation.terms(weights, kind, attributes)
        expected[path] = exact[path]
        if len(terms):
            np.testing.assert_array_equal(terms, order)
            own = np.split(terms.astype(int), group, 1)
            expected[path] = np.concatenate(list(map(added_in_pairs, flat, own)), -1)
            assert (expected[path] != exact[path]).mean() > 0.05
    run("Haswell", PLAIN, tmp_path / "haswell.npz", *expected)
    run("Nehalem", PLAIN, tmp_path / "nehalem.npz", *expected)
    for cpu, wanted in (("haswell", expected), ("nehalem", exact)):
        found = np.load(tmp_path / f"{cpu}.npz")
        for path, sums in wanted.items():
            steps = np.clip(np.rint(sums / 512), -128, 127) * 512
            got = np.moveaxis(found[path], 1, -1).reshape(sums.shape)
            np.testing.assert_array_equal(got, steps, err_msg=f"{cpu} {Path(path).stem}")
