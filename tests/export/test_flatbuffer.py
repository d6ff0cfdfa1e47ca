"""What is in a TFLite file of ours: no computed shape, nothing twice, and the same predictions as without that."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import BuiltinOperator, ModelT

from oddeven.export import conversion, tflite
from oddeven.export.flatbuffer import pack
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance

KINDS = {number: name for name, number in vars(BuiltinOperator).items()}
SHAPE_ARITHMETIC = {"SHAPE", "STRIDED_SLICE", "PACK"}
SPEC = ModelSpec(
    "parts", ("bad", "good"), InputSpec(8, 8, 1), Provenance("parts", "", "none", 1, 0, {}), precision="int8"
)


@pytest.fixture(scope="module")
def files():
    """An int8 file with constant shapes, and one as Keras traces it; with a flatten in a model inside the model."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Reshape((12, 12)), layers.Flatten(), layers.Dense(8)])
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, use_bias=False)(image)
    x = inner(layers.ReLU()(layers.BatchNormalization()(x)))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(x), name="parts")
    calibration = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    source = conversion.Conversion(model, SPEC, calibration)
    with mock.patch.object(conversion, "_with_constant_shapes", lambda model: model):
        computed = tflite.int8(source)
    conversion.traced.cache_clear()
    return tflite.int8(source), computed


def kinds(file):
    parsed = ModelT.InitFromPackedBuf(file, 0)
    return {KINDS[parsed.operatorCodes[one.opcodeIndex].builtinCode] for one in parsed.subgraphs[0].operators}


def predicted(file, images):
    """The output bytes for a batch."""
    interpreter = Interpreter(model_content=file)
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert source["shape_signature"].tolist() == [-1, 8, 8, 1]
    interpreter.resize_tensor_input(source["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(sink["index"])


def test_the_shape_of_a_flatten_is_a_constant_and_the_predictions_stay(files):
    constant, computed = files
    assert kinds(computed) >= SHAPE_ARITHMETIC
    assert "RESHAPE" in kinds(constant)
    assert not SHAPE_ARITHMETIC & kinds(constant)
    images = np.random.default_rng(1).integers(0, 256, (50, 8, 8, 1), np.uint8)
    for count in (1, 7, 50):
        np.testing.assert_array_equal(predicted(constant, images[:count]), predicted(computed, images[:count]))
    assert len(np.unique(predicted(constant, images))) > 5


def test_nothing_is_in_a_file_twice(files):
    from tensorflow.lite.tools import flatbuffer_utils

    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(files[0]))
    (graph,) = parsed.subgraphs
    joined = [tensor for tensor in graph.tensors if b";" in tensor.name]
    assert joined
    assert all(parsed.buffers[tensor.buffer].data is None for tensor in joined)
    assert len({tensor.name for tensor in graph.tensors}) == len(graph.tensors)
    # Weights and bias of 12 channels have zero points of 8 bytes, all 0.
    packed = len(flatbuffer_utils.convert_object_to_bytearray(parsed))
    assert pack(parsed) == files[0][: len(pack(parsed))]
    assert packed - len(pack(parsed)) >= 12 * 8
