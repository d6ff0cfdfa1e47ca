"""The published networks, layer by layer."""

from __future__ import annotations

import pytest
from keras import Input, Sequential, layers

from oddeven.runtime.errors import UsageError
from oddeven.train.architectures import ARCHITECTURES, LEAST_SIDE, build

CONV, POOL, DROP, FLAT, DENSE = "Conv2D", "MaxPooling2D", "Dropout", "Flatten", "Dense"

PUBLISHED = {
    "mlp": (332_801, [(FLAT,), (DENSE, 256), (DENSE, 256), (DENSE, 256), (DENSE, 1)]),
    "cnn": (214_881, [(CONV, 32), (POOL,), (CONV, 32), (POOL,), (FLAT,), (DENSE, 256), (DENSE, 1)]),
    "deep_cnn": (
        327_649,
        [(CONV, 32), (CONV, 32), (POOL,), (DROP, 0.25), (CONV, 64), (CONV, 64), (POOL,), (DROP, 0.25),
         (FLAT,), (DENSE, 256), (DROP, 0.5), (DENSE, 1)],
    ),
}  # fmt: skip


def outline(layer):
    config = layer.get_config()
    sizes = [config[key] for key in ("filters", "units", "rate") if key in config]
    return (type(layer).__name__, *sizes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_layers_and_parameters_are_the_published_ones(name):
    parameters, layers = PUBLISHED[name]
    model = build(name, (28, 28, 1))
    assert [outline(layer) for layer in model.layers] == layers
    assert model.count_params() == parameters
    for layer in model.layers[:-1]:
        if type(layer).__name__ in (CONV, DENSE):
            assert layer.activation.__name__ == "relu"
        if type(layer).__name__ == CONV:
            assert (layer.kernel_size, layer.padding, layer.strides) == ((3, 3), "valid", (1, 1))
        if type(layer).__name__ == POOL:
            assert layer.pool_size == (2, 2)
    assert model.layers[-1].activation.__name__ == "sigmoid"


def test_layers_have_the_same_names_however_many_networks_were_built_before():
    first, second = (build("cnn", (28, 28, 1)) for _ in range(2))
    names = ["conv2d", "max_pooling2d", "conv2d_1", "max_pooling2d_1", "flatten", "dense", "probability"]
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers] == names


@pytest.mark.parametrize("name", PUBLISHED)
def test_other_input_shapes_work(name):
    assert build(name, (40, 32, 3)).output_shape == (None, 1)


def test_tiny_is_small_at_every_image_size():
    model = build("tiny", (28, 28, 1))
    convolutions = [layer for layer in model.layers if type(layer).__name__ == CONV]
    assert [layer.filters for layer in convolutions] == [8, 16, 24, 32]
    positions = [layer.output.shape[1] * layer.output.shape[2] for layer in convolutions]
    products = [count * layer.kernel.shape.num_elements() for count, layer in zip(positions, convolutions, strict=True)]
    assert sum(products) < 600_000
    assert build("tiny", (64, 64, 1)).count_params() == model.count_params() < 12_100


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="mlp, cnn, deep_cnn, tiny"):
        build("resnet", (28, 28, 1))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_least_size_is_the_least_that_can_be_built(name):
    least = LEAST_SIDE.get(name, 1)
    assert build(name, (least, least, 3)).output_shape == (None, 1)
    if least > 1:
        with pytest.raises(UsageError, match=f"too small for {name}; give at least {least}x{least}"):
            build(name, (least - 1, least, 3))
        with pytest.raises(ValueError, match="zero or negative"):
            Sequential([Input((least - 1, least, 3)), *ARCHITECTURES[name](layers)])
