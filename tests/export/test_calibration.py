"""What is said of calibration images, and how they are drawn."""

from __future__ import annotations

import hashlib
import re
import time

import numpy as np
import pytest

from oddeven.export.calibration import check_calibration, disjoint_draws, draw_calibration
from oddeven.runtime.errors import DataError
from oddeven.train.data.registry import load_dataset


@pytest.fixture(scope="module")
def data():
    return load_dataset("mnist")


@pytest.fixture
def given(raw):
    """The first 300 training images, as a user would give them."""
    return raw["x_train"][:300, ..., None].copy()


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_gives_no_warning(seed, data):
    assert check_calibration(draw_calibration(data, 500, seed)[0], data) == []


def test_test_images_are_located(given, raw, data):
    given[[5, 17, 290]] = raw["x_test"][[4000, 7, 7], ..., None]
    sentence = (
        "Calibration images are test images of mnist (test positions 7, 4000), so the test would prove nothing; "
        "remove the copies from the training split."
    )
    with pytest.raises(DataError, match=re.escape(sentence)):
        check_calibration(given, data)


def test_of_many_test_images_the_first_five_are_located(raw, data):
    with pytest.raises(DataError, match=r"test positions 60, 61, 62, 63, 64, \.\.\.\)"):
        check_calibration(raw["x_test"][60:100, ..., None], data)


def test_a_test_image_with_one_pixel_changed_is_another_image(given, raw, data):
    given[0] = raw["x_test"][7, ..., None]
    given[0, 3, 3, 0] ^= 1
    assert check_calibration(given, data) == []


def test_fewer_than_32_are_refused_and_fewer_than_200_are_warned_of(given, data):
    with pytest.raises(DataError, match=r"^31 calibration images are too few; give at least 32\.$"):
        check_calibration(given[:31], data)
    for count in (32, 199):
        assert check_calibration(given[:count], data) == [
            f"{count} calibration images are few for stable ranges; 200 or more are better."
        ]
    assert check_calibration(given[:200], data) == []
    with pytest.raises(DataError, match=r"^0 calibration images"):
        check_calibration(given[:0], data)


def test_copies_are_counted(given, data):
    given[10:13] = given[0]
    given[20] = given[1]
    assert check_calibration(given, data) == ["4 of the 300 calibration images are copies of others among them."]


def test_images_that_lie_scattered_in_memory_are_compared_all_the_same(given, raw, data):
    given[3] = raw["x_test"][9, ..., None]
    scattered = np.asfortranarray(given)
    assert not scattered.flags.c_contiguous
    with pytest.raises(DataError, match=r"test positions 9\)"):
        check_calibration(scattered, data)


def test_several_warnings_come_together(given, data):
    found = check_calibration(np.concatenate([given[:50], given[:50]]), data)
    assert [warning.split(" ")[0] for warning in found] == ["100", "50"]


def test_60000_images_take_no_more_than_a_few_passes_over_them(raw, data):
    images = raw["x_train"][..., None]
    start = time.process_time()
    for image in images:
        hashlib.sha256(image.tobytes()).digest()
    one_pass = time.process_time() - start
    start = time.process_time()
    assert check_calibration(images, data) == []
    # Twice that measured; comparing each image with each of the 10,000 would take thousands of times as long.
    assert time.process_time() - start < 50 * one_pass


def numbers_of(images, numbers):
    return [numbers[image.tobytes()] for image in images]


def test_disjoint_draws_are_disjoint_stratified_training_images(raw, data):
    numbers = {image.tobytes(): number for number, image in enumerate(raw["x_train"][:50_000])}
    assert len(numbers) == 50_000  # no two training images are equal, so bytes name them
    left, right = (numbers_of(half, numbers) for half in disjoint_draws(data, 2000, seed=5))
    assert len(set(left)) == len(set(right)) == 2000
    assert not set(left) & set(right)
    labels = raw["y_train"][:50_000] % 2
    for half in (left, right):
        assert labels[half].sum() == round(2000 * labels.mean())
        # In random order: the first half of an ordered one would hold one label only.
        assert 400 < labels[half][:1000].sum() < 600


def test_disjoint_draws_follow_from_the_seed(data):
    first, again, other = (disjoint_draws(data, 100, seed) for seed in (1, 1, 2))
    for half in (0, 1):
        np.testing.assert_array_equal(first[half], again[half])
        assert first[half].shape == (100, 28, 28, 1)
        assert not np.array_equal(first[half], other[half])


def test_disjoint_draws_that_do_not_fit_are_refused_with_the_label_that_lacks(raw, data):
    ones = int((raw["y_train"][:50_000] % 2).sum())
    zeros = 50_000 - ones
    assert len(disjoint_draws(data, 24_999, seed=0)[0]) == 24_999
    with pytest.raises(
        DataError, match=rf"2 x 25002 calibration images need \d+ training images of 'even', but there are {zeros}; ask"
    ):
        disjoint_draws(data, 25_002, seed=0)
