"""Networks of keras.applications and of Keras's documentation, converted: each file predicts as Keras does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.export.keras_model import read_keras_model
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FLOATS, INTEGERS = ("tflite-float32", "onnx-float32"), ("tflite-int8", "onnx-int8")
SIDE = 96


def application(name, **options):
    def build():
        shape = (SIDE, SIDE, 3)
        body = getattr(keras.applications, name)(
            weights=None, include_top=False, pooling="avg", input_shape=shape, **options
        )
        return keras.Model(body.input, layers.Dense(1, "sigmoid")(body.output))

    return build


def mnist_convnet():
    """keras.io/examples/vision/mnist_convnet, with two labels."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, kernel_size=(3, 3), activation="relu"), layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"), layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(2, activation="softmax"),
    ])  # fmt: skip


def xception_like():
    """keras.io/examples/vision/image_classification_from_scratch: cats and dogs, Rescaling inside, residuals."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1.0 / 255)(image)
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(128, 3, strides=2, padding="same")(x)))
    previous = x
    for size in (256, 512):
        for _ in range(2):
            x = layers.SeparableConv2D(size, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        previous = layers.Conv2D(size, 1, strides=2, padding="same")(previous)
        x = previous = layers.add([x, previous])
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


def flowers():
    """tensorflow.org/tutorials/images/classification: augmentation and Rescaling inside, logits of two."""
    return keras.Sequential([
        keras.Input((SIDE, SIDE, 3)),
        layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.Rescaling(1.0 / 255),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(2, activation="softmax"),
    ])  # fmt: skip


# The maker, what pixel 0 and 255 stand for, and the largest difference in probability of a float file.
NETWORKS = {
    "mnist_convnet": (mnist_convnet, 0.0, 1.0),
    "flowers": (flowers, 0.0, 255.0),
    "xception_like": (xception_like, 0.0, 255.0),
    "MobileNetV2": (application("MobileNetV2"), -1.0, 1.0),
    "MobileNetV3Small": (application("MobileNetV3Small"), 0.0, 255.0),
    "EfficientNetV2B0": (application("EfficientNetV2B0"), 0.0, 255.0),
    "NASNetMobile": (application("NASNetMobile"), -1.0, 1.0),
}
SLOW = {"EfficientNetV2B0", "NASNetMobile", "MobileNetV3Small", "MobileNetV2", "xception_like"}
MARKED = [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in NETWORKS]


def settled(model, x):
    """Statistics of `x` for the batch normalizations, and a last layer that spreads the logits over a few units.

    Random weights alone let a deep network's values vanish, and all its files would agree on one half.
    """
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    last = model.layers[-1]
    features = keras.Model(model.inputs, last.input).predict(x, verbose=0)
    kernel = np.random.default_rng(0).normal(size=last.kernel.shape)
    z = features @ kernel
    last.set_weights([3 * kernel / z.std(), -3 * z.mean(0) / z.std()])
    return model


@pytest.mark.parametrize("name", MARKED)
def test_each_file_predicts_as_keras_does(name, tmp_path):
    keras.utils.set_random_seed(0)
    make, low, high = NETWORKS[name]
    built = make()
    view = InputSpec(*built.input_shape[1:], low, high, preprocessing="raw")
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (48, 4, 4, view.channels))
    images = np.repeat(np.repeat(coarse, view.height // 4, 1), view.width // 4, 2).astype(np.uint8)
    x = to_float(images, view)
    settled(built, x).save(tmp_path / "mine.keras")
    model = read_keras_model(tmp_path / "mine.keras")
    truth = model.predict(x, verbose=0)[:, 0]
    np.testing.assert_allclose(built.predict(x, verbose=0)[:, -1], truth, rtol=0, atol=1e-4)
    assert truth.std() > 0.1
    spec = ModelSpec("mine", ("no", "yes"), view, Provenance("random", "", "none", 0, 0, {}))
    for file_format in (*FLOATS, *INTEGERS):
        row = FORMATS[file_format]
        path = tmp_path / row.file_name("mine")
        path.write_bytes(row.convert(Conversion(model, spec, x)))
        with Classifier.load(path) as classifier:
            p = classifier.probabilities(images)
        if file_format in FLOATS:
            # Sums of some thousand products in another order, 100 layers of them, each a rounding of 2**-24.
            np.testing.assert_allclose(p, truth, rtol=0, atol=100 * 2000 * 2.0**-24 / 4)
        else:
            # Random weights amplify rounding as trained ones do not: of a shallow network only the order must survive,
            # of a deep one of keras.applications only that the file runs.
            assert ((p >= 0) & (p <= 1)).all()
            assert hasattr(keras.applications, name) or np.corrcoef(p, truth)[0, 1] > 0.8
