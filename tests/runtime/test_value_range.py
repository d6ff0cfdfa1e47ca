"""Which value range is found: of drawn images, for small models that learnt them in each range."""

from __future__ import annotations

import numpy as np
import pytest

from oddeven.runtime.device.watcher import UNREADABLE
from oddeven.runtime.errors import UsageError
from oddeven.runtime.prediction import UNCERTAIN, UNKNOWN
from oddeven.runtime.value_range import RANGES, find_range, two_labels

PLAIN = ("0..1", "-1..1", "0..255")
LABELS = ("blue", "red")


def images(seed, count=200):
    """Noisy images (N, 8, 8, 3), more blue or more red."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    pixels = random.normal(90, 60, (count, 8, 8, 3))
    pixels[..., 0] += 50 * truth[:, None, None]
    pixels[..., 2] += 50 * (1 - truth)[:, None, None]
    return np.clip(pixels, 0, 255), truth.astype(np.uint8)


def under(pixels, name):
    row = RANGES[name]
    kernel, bias = row.matrix()
    return (pixels / 255 * (row.high - row.low) + row.low) @ kernel + bias


@pytest.mark.parametrize("name", ["0..1", "-1..1", "0..255", "imagenet"])
def test_the_range_that_a_model_was_trained_with_is_found(name):
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    layers, (pixels, truth), (unseen, known) = keras.layers, images(0, 400), images(1, 100)
    model = keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(1, "sigmoid"),
    ])  # fmt: skip
    model.compile("adam", "binary_crossentropy")
    model.fit(under(pixels, name), truth, epochs=12, batch_size=16, verbose=0)

    def predict(tried):
        return model.predict(under(unseen, tried), verbose=0)[:, 0]

    found, finding = find_range("mine.keras", RANGES, None, predict, known, LABELS)
    assert found == name, finding


def scaled(logit, narrow=0.0):
    """What a model without mistakes says whose logit is that in 0..1, and grows with the values; other in -1..1."""
    truth = np.arange(20) % 2
    signs = 2.0 * truth - 1
    factors = {"0..1": 1.0, "-1..1": narrow, "0..255": 255.0}

    def predict(name):
        return (1 / (1 + np.exp(-np.clip(logit * factors[name] * signs, -80, 80)))).astype(np.float32)

    return find_range("mine.keras", PLAIN, None, predict, truth.astype(np.uint8), LABELS)


def test_a_range_that_only_makes_a_model_surer_is_named_but_not_taken():
    assert scaled(3.0) == (
        "0..1",
        "value range 0..1, right for 100.0% of 20 images; as right under 0..255, so give --range if it was trained "
        "with another",
    )
    assert scaled(6.0, narrow=2.0)[0] == "0..1"  # both have next to no loss
    assert scaled(1.0, narrow=4.0)[0] == "-1..1"


def test_a_range_under_which_a_model_is_right_but_says_one_half_is_too_narrow():
    assert scaled(0.05) == ("0..255", "value range 0..255, right for 100.0% of 20 images")


@pytest.mark.parametrize("bad", [UNCERTAIN, UNKNOWN.title(), UNREADABLE, "a\nb", "a/b", "Good"])
def test_what_cannot_be_told_from_another_answer_is_no_label(bad):
    with pytest.raises(UsageError, match=r"--labels: .*(cannot be a label|differ only in case)"):
        two_labels(f"good,{bad}")


def test_two_labels_are_read():
    assert two_labels(" good, très mauvais ") == ("good", "très mauvais")
