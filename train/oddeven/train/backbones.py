"""Networks that were trained on ImageNet, without their classifiers, as rows of one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddeven.runtime.errors import DataError, UsageError, reason
from oddeven.train import lite0

LITE0 = "lite0"
SIDE = 160
STEP = 32  # every backbone halves its input five times
LEAST_SIDE, MOST_SIDE = 96, 224


@dataclass(frozen=True)
class Backbone:
    """A row.

    Attributes:
        features: from the image, a Keras tensor (N, H, W, C), to the last feature map, (N, H/32, W/32, K).
        load_weights: gives the layers of a model with these features their weights, from a file or the row's own.
        low, high: the real values that pixel 0 and pixel 255 stood for when it was trained.
        tuned_from: the first layer that fine-tuning changes begins so.
        familiar: the layer whose feature map tells whether an image is familiar, before the last one, in which an image
            of anything resembles one of the labels.
    """

    features: Callable[[Any], Any]
    load_weights: Callable[[Any, Path | None], None]
    low: float
    high: float
    tuned_from: str
    familiar: str


def _application(name: str, tuned_from: str, familiar: str, **options: Any) -> Backbone:
    """The row of a network of `keras.applications` made for -1 to 1; without a file Keras downloads its weights."""

    def network(weights: object, **where: Any) -> Any:
        import keras

        return getattr(keras.applications, name)(include_top=False, weights=weights, **options, **where)

    def load_weights(model: Any, path: Path | None) -> None:
        try:
            trained = network(str(path) if path else "imagenet", input_shape=model.input_shape[1:])
        except Exception as error:  # Keras, h5py and the network raise whatever they like
            where = path or "Keras's download"
            raise DataError(f"{where} gives no weights of {name} without its top ({reason(error)}).") from error
        for layer in trained.layers:
            if layer.weights:  # Keras numbers the others' names anew in each network
                model.get_layer(layer.name).set_weights(layer.get_weights())

    return Backbone(
        lambda image: network(None, input_tensor=image).output, load_weights, -1.0, 1.0, tuned_from, familiar
    )


BACKBONES: Mapping[str, Backbone] = {
    LITE0: Backbone(lite0.features, lite0.load_weights, lite0.LOW, lite0.HIGH, "block5_", "block15_project_bn"),
    "mobilenet_v2": _application("MobileNetV2", "block_6_", "block_16_project_BN"),
    "mobilenet_v3_small": _application(
        "MobileNetV3Small", "expanded_conv_3_", "expanded_conv_10_add", include_preprocessing=False
    ),
}


def check_input_size(name: str, input_shape: tuple[int, int, int]) -> None:
    """Refuse an input that the backbone `name` was not made for (UsageError)."""
    height, width, channels = input_shape
    if any(side % STEP or not LEAST_SIDE <= side <= MOST_SIDE for side in (height, width)):
        raise UsageError(
            f"{name} takes sides of {LEAST_SIDE} to {MOST_SIDE} pixels in steps of {STEP}, not {height}x{width}; give "
            f"--image-size {SIDE}, or take another network."
        )
    if channels == 1 and name != LITE0:
        raise UsageError(f"{name} takes colour images; give --channels 3, or take {LITE0}.")


def build(name: str, input_shape: tuple[int, int, int]) -> Any:
    """The backbone `name`, its weights random, and one sigmoid: float32 (N, *input_shape) in, float32 (N, 1) out."""
    import keras
    from keras import layers

    image = keras.Input(input_shape, name="image")
    x = layers.GlobalAveragePooling2D(name="pooled")(BACKBONES[name].features(image))
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(1, activation="sigmoid", name="probability")(x), name=name)


def freeze(model: Any, name: str) -> None:
    """Leave only the upper part of a model of `build` to training, without its batch normalizations' statistics."""
    from keras import layers

    upper = False
    for layer in model.layers:
        upper = upper or layer.name.startswith(BACKBONES[name].tuned_from)
        layer.trainable = upper and not isinstance(layer, layers.BatchNormalization)
