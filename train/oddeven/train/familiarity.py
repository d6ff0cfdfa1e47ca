"""A second output for a trained model, how familiar an image is, and probabilities that mean what they say.

Neither changes what was trained. Familiarity is a small network on what the layers of the model see, fitted to tell
training images from made-up ones.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.engines.metadata import attach_to_keras
from oddeven.runtime.errors import ModelError
from oddeven.runtime.familiarity import NAME
from oddeven.runtime.files import DAMAGED, replacing
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.spec import Familiarity, InputSpec, ModelSpec
from oddeven.train.backbones import BACKBONES
from oddeven.train.data.dataset import Dataset
from oddeven.train.data.input_pipeline import evaluation_batch_size
from oddeven.train.outliers import make_up, out_of_focus, restyled
from oddeven.train.things import load_things, resembling

MIN_FAMILIARITY = 0.01  # the share of validation images that is called unknown
KNOWN, MADE_UP = 20_000, 3  # training images at most, and made-up ones for each of them
VALUES = 100_000_000  # of pixels in these training images, at most
OUT_OF_FOCUS = 0.5  # of the training images, a second time
STYLES = 3  # of each training image in colour
LEAST_MADE_UP = 1000
SHARE = 0.026  # of the model's parameters, which the fit may add
MOST_UNITS = 32
EPOCHS, BATCH, PEAK, DECAY = 12, 256, 5e-3, 5e-4
TOP = 6.0  # where a ReLU6 ends
LOWEST = 0.001  # the share of validation images that scores 0
FLAT, TINY = 0.1, 1e-3  # are added to each standard deviation: this share of the usual one, and this itself
# Closer together where images are refused.
SHARES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

Floats = npt.NDArray[np.float32]


def save_with_familiarity(
    model: Any, data: Dataset, spec: ModelSpec, path: Path, unknown: Pixels | None = None
) -> None:
    """Save `model`, without its optimizer, with a second output, and its spec with what that means.

    Args:
        unknown: as `with_familiarity`.

    Raises:
        OutputError: the file cannot be written.
    """
    whole, known = with_familiarity(model, data, spec.provenance.seed, unknown)
    with replacing(path) as partial:
        whole.save(partial)
        attach_to_keras(partial, replace(spec, min_familiarity=MIN_FAMILIARITY, familiarity=known))


def load_without_familiarity(path: Path) -> Any:
    """The trained model in the `.keras` file `path`, with its first output alone.

    Raises:
        ModelError: the file is damaged.
    """
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except (*DAMAGED, LookupError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: Keras cannot read it ({type(error).__name__}).") from error
    return _first_output(model)


def _first_output(model: Any) -> Any:
    """A copy with the first output alone, each of whose layers is called once.

    Keras builds a Sequential model anew whenever a layer is added. Of its layers, `output` may belong to any of these.
    """
    import keras

    copy = keras.models.clone_model(keras.Model(model.inputs[0], model.outputs[0], name=model.name))
    copy.set_weights(keras.Model(model.inputs[0], model.outputs[0]).get_weights())
    return copy


def with_familiarity(model: Any, data: Dataset, seed: int, unknown: Pixels | None = None) -> tuple[Any, Familiarity]:
    """`model` with a second output, the raw score, and what that means by the validation images.

    Args:
        model: a Keras model that ends in one dense unit; of one with a second output, that is replaced.
        data: the dataset that it was trained on.
        seed: of the made-up images and the fit.
        unknown: images of neither label, uint8 (N, *data.input.shape), which count as much as all made-up ones.
    """
    import keras

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    plain = _first_output(model)
    taps = _taps(plain)
    body = keras.Model(plain.inputs[0], taps)
    x_known, x_unknown = _examples(body, data, unknown, random)
    widths = [tap.shape[-1] for tap in taps]
    units = min(MOST_UNITS, max(2, int(SHARE * plain.count_params() / sum(widths))))
    found = _fit(x_known, x_unknown, widths, units)
    weights, raw = _spread(found, features(body, data.validation.images, data.input))
    whole = keras.Model(plain.inputs[0], [plain.outputs[0], _head(taps, weights)], name=model.name)
    return whole, meaning(raw)


def _examples(body: Any, data: Dataset, unknown: Pixels | None, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Features of images that are to be familiar, (N, K), and of images that are not, (M, K)."""
    train, spec = data.train, data.input
    most = min(KNOWN, max(1, VALUES // math.prod(spec.shape)))
    known = train.take(np.sort(random.permutation(len(train))[:most]))
    again = known.take(np.sort(random.permutation(len(known))[: int(OUT_OF_FOCUS * len(known))]))
    worse = out_of_focus(again.images, random)
    familiar = [features(body, images, spec) for images in (known.images, worse)]
    count, size = max(LEAST_MADE_UP, MADE_UP * len(known)), evaluation_batch_size(spec.shape)
    parts = [min(size, count - start) for start in range(0, count, size)]
    unfamiliar = [features(body, make_up(known.images, part, random), spec) for part in parts]
    shown = [] if unknown is None else [features(body, unknown, spec)]
    if spec.channels == 3:
        familiar += [features(body, restyled(known.images, random), spec) for _ in range(STYLES)]
        shown += _other_things(body, familiar[0], spec, random)
    for others in shown:
        unfamiliar += [others] * max(1, round(count / len(others)))
    return np.concatenate(familiar), np.concatenate(unfamiliar)


def _other_things(body: Any, known: Floats, spec: InputSpec, random: np.random.Generator) -> list[Floats]:
    """Features, (N, K) if any, of things unlike the known ones: as they are, in another style, and out of focus."""
    found = {
        kind: [
            features(body, shown, spec) for shown in (images, restyled(images, random), out_of_focus(images, random))
        ]
        for kind, images in load_things(spec)
    }
    left_out = resembling(known, {kind: plain for kind, (plain, *_) in found.items()}) if found else []
    parts = [part for kind, all_three in found.items() if kind not in left_out for part in all_three]
    return [np.concatenate(parts)] if parts else []


def _head(taps: list[Any], weights: list[Floats]) -> Any:
    """The raw score, (N, 1): a dense layer for each of `taps`, so that eight bits of each have a range of its own."""
    from keras import layers

    kernel, bias, last, shift = weights
    ends, parts = np.cumsum([0, *(tap.shape[-1] for tap in taps)]), []
    for number, tap in enumerate(taps):
        # Each has its share of the bias: without one, tflite-runtime 2.14 crashes on ARM.
        part = layers.Dense(len(bias), name=f"familiarity_{number}")
        parts.append(part(tap))
        part.set_weights([kernel[ends[number] : ends[number + 1]], bias / len(taps)])
    hidden = layers.Add(name="familiarity")(parts) if len(parts) > 1 else parts[0]
    score = layers.Dense(1, "relu6", name=NAME)
    raw = score(layers.Activation("relu6", name="familiarity_relu")(hidden))
    score.set_weights([last, shift])
    return raw


def meaning(raw: Floats) -> Familiarity:
    """What the raw scores of validation images, (N,), make of a score: their quantiles."""
    scores, first = np.unique(np.quantile(raw.astype(np.float64), SHARES), return_index=True)
    if len(scores) == 1:  # of one image, or of a model that sees no difference
        scores, first = np.array([scores[0], np.nextafter(scores[0], np.inf)]), np.array([0, len(SHARES) - 1])
    return Familiarity(tuple(scores.tolist()), tuple(SHARES[place] for place in first))


def features(body: Any, images: Any, spec: InputSpec) -> Floats:
    """What `body` makes of images, uint8 (N, H, W, C): float32 (N, K), its outputs beside each other."""
    size = evaluation_batch_size(spec.shape)
    batches = (to_float(images[start : start + size], spec) for start in range(0, len(images), size))
    found = (body.predict_on_batch(batch) for batch in batches)
    return np.concatenate([np.concatenate(x, axis=1) if isinstance(x, list) else np.asarray(x) for x in found])


def _taps(model: Any) -> list[Any]:
    """What tells whether an image is familiar: (N, K) each.

    Of a backbone, mean and maximum of one feature map. Of another network, those of what its pooling layers give, and
    what feeds the last layer.
    """
    from keras import layers

    *before, fed = (layer for layer in model.layers[:-1] if not isinstance(layer, layers.Dropout))
    pools = (("mean", layers.GlobalAveragePooling2D), ("most", layers.GlobalMaxPooling2D))
    if model.name in BACKBONES:
        first, pooled = [], [model.get_layer(BACKBONES[model.name].familiar)]
    else:
        first, pooled = [fed.output], [layer for layer in before if isinstance(layer, layers.MaxPooling2D)]
    return [*first, *(pool(name=f"{layer.name}_{name}")(layer.output) for layer in pooled for name, pool in pools)]


def _fit(known: Floats, unknown: Floats, widths: list[int], units: int) -> list[Floats]:
    """The weights of two dense layers that tell features of known images, (N, K), from those of unknown ones.

    Args:
        widths: how many features come from each place in the network.
    """
    import keras
    from keras import layers

    x = np.concatenate([known, unknown])
    y = np.repeat([1.0, 0.0], [len(known), len(unknown)]).astype(np.float32)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    # A feature that hardly varies would get a weight that leaves no bits to its neighbours'.
    usual = [np.full(len(part), part.mean()) for part in np.split(deviation, np.cumsum(widths)[:-1])]
    deviation = deviation + FLAT * np.concatenate(usual) + TINY
    decay = keras.regularizers.L2(DECAY)
    head = keras.Sequential([keras.Input(x.shape[1:]), layers.Dense(units, "relu6", kernel_regularizer=decay),
                             layers.Dense(1, kernel_regularizer=decay)])  # fmt: skip
    rate = keras.optimizers.schedules.PolynomialDecay(PEAK, EPOCHS * math.ceil(len(x) / BATCH), 0.0)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    head.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    share = {label: len(x) / (2 * count) for label, count in enumerate((len(unknown), len(known)))}
    head.fit((x - mean) / deviation, y, BATCH, EPOCHS, verbose=0, class_weight=share)
    kernel, bias, *rest = head.get_weights()
    kernel /= deviation[:, None]
    return [kernel, bias - mean @ kernel, *rest]


def _spread(weights: list[Floats], x: Floats) -> tuple[list[Floats], Floats]:
    """The weights with a last layer that spreads the validation images, features (N, K), from 0 to 6, and their scores.

    Beyond, where a ReLU6 cuts, nothing has to be told apart, so that eight bits are spent around the limit.
    """
    kernel, bias, last, shift = weights
    raw = np.clip(x @ kernel + bias, 0, TOP) @ last + shift
    low, high = np.quantile(raw, (LOWEST, 1.0))
    scale = np.float32(TOP / max(high - low, TINY))
    spread = [kernel, bias, last * scale, (shift - np.float32(low)) * scale]
    return spread, np.clip((raw[:, 0] - np.float32(low)) * scale, 0, TOP)


def calibrate(model: Any, data: Dataset) -> float:
    """Divide the last layer of `model` by the temperature at which its probabilities fit the validation labels best.

    Predictions at one half stay what they are, so there is no bias to fit. Guo and others, 2017, On calibration of
    modern neural networks; the labels are smoothed as by Platt, 1999, so that no probability becomes certain.

    Returns:
        the temperature.
    """
    import keras
    from scipy.optimize import minimize_scalar

    validation, last = data.validation, model.layers[-1]
    kernel, bias = last.get_weights()
    fed = features(keras.Model(model.inputs[0], last.input), validation.images, data.input)
    logits = (fed @ kernel + bias)[:, 0].astype(np.float64)
    zeros, ones = np.bincount(validation.labels, minlength=2)
    targets = np.where(validation.labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(log_temperature: float) -> float:
        z = logits / math.exp(log_temperature)
        return float((np.logaddexp(0, z) - targets * z).mean())

    temperature = math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    last.set_weights([kernel / temperature, bias / temperature])
    return temperature
