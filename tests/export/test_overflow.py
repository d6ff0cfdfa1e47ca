"""How often pairs of products overflow, against sums that are added one by one."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from oddeven.export.overflow_rate import measure_overflow


def quantized(kind, weights, shape, zero_point, **attributes):
    """A QDQ graph of one layer; activations are stored in steps of 1."""
    units = weights.shape[0] if kind == "Conv" else weights.shape[-1]
    constants = {
        "w": weights, "one": np.float32(1), "zero": np.uint8(zero_point), "scales": np.ones(units, np.float32),
        "zeros": np.zeros(units, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "scales", "zeros"], ["v"], axis=0 if kind == "Conv" else 1),
        helper.make_node(kind, ["d", "v"], ["y"], **attributes),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in (("x", shape), ("y", None))]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def overflows(stored, weights):
    """Whether one sum's products, added two by two, leave 16 bits somewhere."""
    products = [int(a) * int(w) for a, w in zip(stored, weights, strict=True)]
    pairs = (sum(products[i : i + 2]) for i in range(0, len(products), 2))
    return any(not -(2**15) <= pair < 2**15 for pair in pairs)


@pytest.mark.parametrize("zero_point", [0, 100])
def test_the_share_of_a_convolution_is_that_of_its_sums(tmp_path, zero_point):
    random = np.random.default_rng(0)
    weights = random.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8)
    stored = random.integers(0, 256, (3, 4, 6, 6))
    options = {"group": 2, "kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "strides": [2, 1], "dilations": [1, 2]}
    model = quantized("Conv", weights, ["n", 4, 6, 6], zero_point, **options)
    (tmp_path / "conv.onnx").write_bytes(model.SerializeToString())
    (found,) = measure_overflow(tmp_path / "conv.onnx", (stored - zero_point).astype(np.float32))
    padded = np.pad(stored, ((0, 0), (0, 0), (1, 1), (0, 1)), constant_values=zero_point)
    seen = []
    for picture, unit, top, left in itertools.product(range(3), range(4), range(0, 6, 2), range(3)):
        first = 2 * (unit // 2)
        window = padded[picture, first : first + 2, top : top + 3, left : left + 5 : 2]
        seen.append(overflows(window.transpose(1, 2, 0).ravel(), weights[unit].transpose(1, 2, 0).ravel()))
    assert 0 < np.mean(seen) < 1
    assert found.seen == pytest.approx(np.mean(seen))


def test_the_share_of_a_product_of_matrices_is_that_of_its_sums(tmp_path):
    random = np.random.default_rng(1)
    weights, stored = random.integers(-127, 128, (5, 6)).astype(np.int8), random.integers(0, 256, (150, 5))
    model = quantized("Gemm", weights, ["n", 5], 0)
    (tmp_path / "dense.onnx").write_bytes(model.SerializeToString())
    (found,) = measure_overflow(tmp_path / "dense.onnx", stored.astype(np.float32))
    seen = [overflows(row, weights[:, unit]) for row, unit in itertools.product(stored, range(6))]
    assert 0 < np.mean(seen) < 1
    assert found.seen == pytest.approx(np.mean(seen))
