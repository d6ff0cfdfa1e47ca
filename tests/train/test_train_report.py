"""What the training report says of few images, on images whose truth is known."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import Dataset, Split
from oddeven.train.few_images import _forecast, estimate, examine, occlusion
from oddeven.train.train_report import examined_images, write_train_report

COUNT = 200
WRONG = (3, 50, 77, 140, 199)
COPY = (10, 110)


@pytest.fixture(scope="module")
def known():
    """Features that tell the labels apart, `WRONG` ones given the other label, and images of which `COPY` are alike."""
    random = np.random.default_rng(0)
    truth = np.tile([0, 1], COUNT // 2).astype(np.uint8)
    x = (random.normal(size=(COUNT, 20)) + 2.0 * truth[:, None]).astype(np.float32)
    labels = truth.copy()
    labels[list(WRONG)] ^= 1
    images = random.integers(0, 256, (COUNT, 32, 32, 3)).astype(np.uint8)
    images[COPY[1]] = images[COPY[0]]
    return x, labels, images


def test_wrong_labels_and_copies_are_found(known):
    few = examine(*known, seed=0)
    assert set(few.doubtful[: len(WRONG)]) == set(WRONG)
    assert few.duplicates.tolist() == [list(COPY)]
    assert [row.count for row in few.curve][-1] == COUNT
    # Five labels are wrong, and whoever sees through them is counted wrong.
    assert few.curve[-1].accuracy == pytest.approx(1 - len(WRONG) / COUNT, abs=0.011)
    assert few.curve[-1].low < few.curve[-1].accuracy < few.curve[-1].high


def test_the_interval_is_wilsons():
    found = estimate(8, 10)
    # By hand: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96, n = 10.
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_errors_that_fall_with_more_images_are_drawn_out():
    random = np.random.default_rng(1)
    labels = np.tile([0, 1], 300).astype(np.uint8)
    x = (random.normal(size=(600, 200)) + 0.15 * labels[:, None]).astype(np.float32)
    few = examine(x, labels, random.integers(0, 256, (600, 16, 16, 1)).astype(np.uint8), seed=0)
    (double, expected), (_, later) = few.forecast
    assert double == 1200
    assert few.curve[-1].accuracy < expected < later < 1


def test_a_curve_that_touches_one_is_not_drawn_out():
    assert _forecast([estimate(right, count) for right, count in ((45, 50), (100, 100), (148, 150), (196, 200))]) == ()


def test_a_handful_of_images_says_nothing():
    few = examine(
        np.eye(20, dtype=np.float32), np.tile([0, 1], 10).astype(np.uint8), np.zeros((20, 8, 8, 1), np.uint8), 0
    )
    assert (few.curve, few.forecast, few.doubtful) == ((), (), ())


def test_images_of_one_look_for_all_of_a_label_are_not_cross_validated(known):
    x, labels, images = known
    alike = images.copy()
    alike[labels == 1] = images[0]
    few = examine(x, labels, alike, seed=0)
    assert (few.curve, few.forecast, few.doubtful) == ((), (), ())
    assert len(few.duplicates) > 1000


def test_what_is_covered_counts_where_the_model_looks():
    image = np.ones((50, 50, 3), np.float32)
    moved = occlusion(lambda batch: batch[:, :8, -8:, :1].mean(axis=(1, 2)), image, 0.0, steps=9)
    assert np.unravel_index(moved.argmax(), moved.shape) == (0, 8)
    np.testing.assert_array_equal(moved[3:], 0)


def test_the_page_is_whole(known, tmp_path):
    x, labels, images = known
    everything = Split(images, labels, labels.astype(str), np.arange(COUNT))
    parts = [everything.take(slice(0, 160)), everything.take(slice(160, None))]
    files = tuple(f"parts/<{number}>.png" for number in range(COUNT))
    data = Dataset(
        "parts", "", ("bad & worse", "good"), InputSpec(32, 32, 3), *parts, parts[0].take(slice(0, 40)), files
    )
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")
    ])  # fmt: skip
    split = examined_images(data, 0)
    np.testing.assert_array_equal(split.index, np.arange(COUNT))
    page = tmp_path / "lite0" / "train-report.html"
    page.parent.mkdir()
    write_train_report(page, model, data, x, split, np.full(40, 0.9, np.float32), 0.5)
    text = page.read_text()
    assert "bad &amp; worse or good" in text
    assert "&lt;3&gt;.png" in text
    assert re.search(r"five-fold cross-validated on\s+200 training and validation images: <strong>97\.\d %", text)
    assert "1 pair, by perceptual hash" in text
    assert text.count("is bad &amp; worse, predicted good (0.90)") == 6
    assert not re.search(r"https?://|<script", text)
    few = split.take(slice(0, 20))
    write_train_report(page, model, data, x[:20], few, np.full(40, 0.9, np.float32), 0.5)
    assert "Unknown without cross-validation" in page.read_text()


def test_of_more_images_than_memory_holds_only_those_that_are_examined_are_read():
    def split(count):  # 12 kB an image, if it were copied
        images = np.broadcast_to(np.zeros((64, 64, 3), np.uint8), (count, 64, 64, 3))
        return Split(images, np.zeros(count, np.uint8), np.broadcast_to("bad", count), np.arange(count))

    data = Dataset("parts", "", ("bad", "good"), InputSpec(64, 64, 3), split(10**7), split(10**6), split(1))
    assert len(examined_images(data, 0)) == 2000
