"""What rounding weights adds to a layer's output on average is taken off its bias, in deep networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from conftest import SHIPPED
from keras import layers

from oddeven.export.activations import tflite_activations
from oddeven.export.bias import DEEP, correct
from oddeven.export.conversion import Conversion
from oddeven.export.flatbuffer import pack, parse
from oddeven.export.tflite import converted, float32, full_integer, int8
from oddeven.runtime.engines.metadata import read_spec


def rounded_down(shape, dtype=None):
    """Weights of which 127 levels reach to one, and that all others are 0.45 of a level: those become 0."""
    weights = np.full(shape, 0.45 / 127, np.float32)
    flat = weights.reshape(-1, shape[-1])
    flat[np.arange(shape[-1]) % len(flat), np.arange(shape[-1])] = 1.0
    return weights


def network(depth):
    """Of `depth` layers with weights, every kind of them."""
    kinds = [
        lambda: layers.Conv2D(8, 1, activation="relu6", kernel_initializer=rounded_down),
        lambda: layers.DepthwiseConv2D(3, padding="same", activation="relu6", depth_multiplier=2),
        lambda: layers.Conv2D(8, 3, padding="same", activation="relu6", kernel_initializer=rounded_down),
        lambda: layers.Conv2D(8, 3, padding="same", activation="relu6", groups=2),
    ]
    image = x = keras.Input((8, 8, 1))
    for number in range(depth - 1):
        x = kinds[number % len(kinds)]()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(1, "sigmoid", bias_initializer=keras.initializers.Constant(0.1))(x))


@pytest.fixture(scope="module")
def spec():
    return read_spec(SHIPPED / "mlp.keras")


def mean_errors(model, plain, images):
    """How far each layer's output is off on average, by its name, in its own standard deviations."""
    found = [tflite_activations(model, np.rint(255 * images).astype(np.uint8)), tflite_activations(plain, images)]
    q, x = ({name: a for name, a in tensors.items() if a.ndim == 4} for tensors in found)
    assert len(q.keys() & x.keys()) >= DEEP
    return [abs((q[name] - x[name]).mean()) / (x[name].std() + 1e-6) for name in q.keys() & x.keys()]


def test_the_mean_error_of_a_deep_network_becomes_less(spec):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(0, 1, (64, 8, 8, 1)).astype(np.float32)
    source = Conversion(network(DEEP + 4), spec, images)
    plain = float32(source)
    parsed = converted(source, full_integer(source))
    before = np.mean(mean_errors(pack(parsed), plain, images))
    correct(parsed, lambda: plain, images)
    assert np.mean(mean_errors(pack(parsed), plain, images)) < before / 2


def test_a_network_that_is_not_deep_is_left_as_it_is(spec, raw):
    def none():
        raise AssertionError("it is not needed")

    model = keras.saving.load_model(SHIPPED / "mlp.keras", compile=False)
    source = Conversion(model, spec, raw["x_train"][:50, ..., None] / np.float32(255))
    parsed = parse(int8(source))
    before = pack(parsed)
    correct(parsed, none, source.calibration)
    assert pack(parsed) == before
