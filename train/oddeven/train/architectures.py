"""The networks, as rows of one table. Adding one is a function that lists its layers, and a row.

Each function takes `keras.layers`, so that the table can be read without importing TensorFlow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from oddeven.runtime.errors import UsageError, choose
from oddeven.train import backbones
from oddeven.train.backbones import BACKBONES


def mlp(layers: Any) -> list[Any]:
    """Three wide layers that see the image as one row of pixels."""
    return [layers.Flatten(), *(layers.Dense(256, activation="relu") for _ in range(3))]


def cnn(layers: Any) -> list[Any]:
    """Two small convolutions, each followed by pooling, and one wide layer."""
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
    ]


def deep_cnn(layers: Any) -> list[Any]:
    """Two pairs of convolutions with dropout after each pair and after the wide layer."""
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dropout(0.5),
    ]


def tiny(layers: Any) -> list[Any]:
    """Four normalised convolutions and a global mean, for microcontrollers: the same size whatever the image's is."""

    def convolution(filters: int, side: int = 3, stride: int = 1) -> list[Any]:
        return [layers.Conv2D(filters, side, stride, use_bias=False), layers.BatchNormalization(), layers.ReLU()]

    return [
        *convolution(8, side=5, stride=2),
        *convolution(16),
        *convolution(24),
        layers.MaxPooling2D(2),
        *convolution(32),
        layers.GlobalAveragePooling2D(),
    ]


ARCHITECTURES: Mapping[str, Callable[[Any], list[Any]]] = {
    "mlp": mlp,
    "cnn": cnn,
    "deep_cnn": deep_cnn,
    "tiny": tiny,
}
PUBLISHED = ("mlp", "cnn", "deep_cnn")
NAMES = (*ARCHITECTURES, *BACKBONES)
LEAST_SIDE: Mapping[str, int] = {
    "cnn": 10,
    "deep_cnn": 16,
    "tiny": 23,
}  # in pixels; on less, a convolution has no output


def build(name: str, input_shape: tuple[int, int, int]) -> Any:
    """An untrained Keras model: float32 (N, *input_shape) in, probability of label 1, float32 (N, 1), out.

    Raises:
        UsageError: no architecture has that name, or the input is too small for it.
    """
    check_input_size(choose("architecture", name, NAMES), input_shape)
    if name in BACKBONES:
        return backbones.build(name, input_shape)
    body = ARCHITECTURES[name]
    import keras
    from keras import layers

    head = layers.Dense(1, activation="sigmoid", name="probability")
    hidden, count = body(layers), Counter[str]()
    for layer in hidden:  # Keras goes on counting from the last network that this process has built
        kind = layer.name.rstrip("_0123456789")
        layer.name = f"{kind}_{count[kind]}" if count[kind] else kind
        count[kind] += 1
    return keras.Sequential([keras.Input(input_shape, name="image"), *hidden, head], name=name)


def check_input_size(name: str, input_shape: tuple[int, int, int]) -> None:
    """Refuse an input that the architecture cannot take (UsageError)."""
    if name in BACKBONES:
        backbones.check_input_size(name, input_shape)
    height, width, _ = input_shape
    least = LEAST_SIDE.get(name, 1)
    if min(height, width) < least:
        raise UsageError(
            f"Images of {height}x{width} are too small for {name}; give at least {least}x{least}, or another model."
        )
