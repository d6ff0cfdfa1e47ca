"""What `lint` says of calibration pictures, and what `halves` draws."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time

import numpy as np
import pytest

from oddeven.export.calibration import check_calibration, disjoint_draws, draw_calibration
from oddeven.runtime.errors import DataError
from oddeven.runtime.spec import Calibration
from oddeven.train.data.registry import load_dataset


@pytest.fixture(scope="module")
def data():
    return load_dataset("mnist")


@pytest.fixture
def given(raw):
    """The first 300 training pictures, as a user would give them."""
    return raw["x_train"][:300, ..., None].copy()


def record(count, ones=None):
    """A user's record of `count` pictures; without `ones` their labels are unknown."""
    return Calibration("a folder", "", count, (0, 0) if ones is None else (count - ones, ones), 0)


def warnings_of(images, data):
    """Warnings on pictures in the balance of training, so that the balance is not among them."""
    return check_calibration(images, record(len(images), round(len(images) * 0.51)), data)


@pytest.mark.parametrize("seed", range(3))
def test_what_draw_returns_is_beyond_reproach(seed, data):
    assert check_calibration(*draw_calibration(data, 500, seed), data) == []


def test_training_pictures_given_by_a_user_are_fine(given, data):
    assert warnings_of(given, data) == []


def test_test_pictures_are_counted_and_located(given, raw, data):
    given[[5, 17, 290]] = raw["x_test"][[4000, 7, 7], ..., None]
    sentence = (
        "3 of the 300 calibration pictures (a folder) are test pictures of mnist (test positions 7, 4000), "
        "so the test would prove nothing; draw them from the training split."
    )
    with pytest.raises(DataError, match=re.escape(sentence)):
        warnings_of(given, data)


def test_of_many_test_pictures_the_first_five_are_located(raw, data):
    with pytest.raises(DataError, match=r"^40 of the 40 .*test positions 60, 61, 62, 63, 64, \.\.\.\)"):
        warnings_of(raw["x_test"][60:100, ..., None], data)


def test_a_test_picture_with_one_pixel_changed_is_another_picture(given, raw, data):
    given[0] = raw["x_test"][7, ..., None]
    given[0, 3, 3, 0] ^= 1
    assert warnings_of(given, data) == []


def test_fewer_than_32_are_refused_and_fewer_than_200_are_warned_of(given, data):
    with pytest.raises(DataError, match=r"^31 calibration pictures \(a folder\) are too few; give at least 32\.$"):
        warnings_of(given[:31], data)
    for count in (32, 199):
        assert warnings_of(given[:count], data) == [
            f"{count} calibration pictures are few for stable ranges; 200 or more are better."
        ]
    assert warnings_of(given[:200], data) == []
    with pytest.raises(DataError, match=r"^0 calibration pictures"):
        check_calibration(given[:0], record(0), data)


def test_copies_are_counted(given, data):
    given[10:13] = given[0]
    given[20] = given[1]
    assert warnings_of(given, data) == ["4 of the 300 calibration pictures are copies of others among them."]


def test_pixels_stored_as_0_to_1_are_named(given, data):
    scaled = (given / 255 >= 0.5).astype(np.uint8)
    (warning,) = warnings_of(scaled, data)
    assert warning.startswith("The calibration pixels reach 1 only where training reaches 255: they seem stored as 0")
    (black, copies) = sorted(warnings_of(np.zeros_like(given), data), key=len, reverse=True)
    assert black.startswith("The calibration pixels reach 0 only")
    assert copies.startswith("299 of the 300")


@pytest.mark.parametrize(("top", "warned"), [(126, True), (129, False)])
def test_a_range_under_half_of_trainings_is_named(top, warned, given, data):
    # Half of training's range of 0 to 255 is 127.5.
    expected = (
        f"The calibration pixels run from 0 to {top}, much narrower than training's 0 to 255; "
        "the quantized ranges will clip what lies outside."
    )
    assert warnings_of(np.minimum(given, top), data) == [expected] * warned


def test_inverted_pictures_are_named_with_the_means(given, raw, data):
    mean = raw["x_train"][:50_000].mean()
    assert warnings_of(255 - given, data) == [
        f"The calibration pictures seem inverted: their mean tone is {(255 - given).mean():.0f}, "
        f"training's is {mean:.0f} and {255 - mean:.0f} if inverted."
    ]


@pytest.mark.parametrize(("mean", "warned"), [(100, False), (155, False), (162, True)])
def test_brighter_pictures_are_not_called_inverted(mean, warned, given, raw, data):
    # Training's mean is 33 and its inverse 222; twice as near to the inverse begins at 33 + 189 * 2 / 3 = 159.
    faint = given // 2
    brighter = np.round(faint - faint.mean() + mean).clip(0, 255)
    brighter[:, 0, 0] = np.arange(300)[:, None] % 2 * 255  # black and white are in it, so its range is training's
    shifted = brighter.astype(np.uint8)
    assert abs(shifted.mean() - mean) < 2
    assert any("inverted" in warning for warning in warnings_of(shifted, data)) == warned


def test_training_pictures_around_mid_grey_have_no_polarity(given, data):
    grey = dataclasses.replace(data.train, images=(data.train.images // 4 + 118).astype(np.uint8))
    images = (given // 4 + 122).astype(np.uint8)
    # 126 in training and 130 here: nearer to the inverse, 129, but that says nothing.
    assert abs(grey.images.mean() - 126) < 1
    assert warnings_of(images, dataclasses.replace(data, train=grey)) == []


@pytest.mark.parametrize(("ones", "warned"), [(107, True), (109, False), (150, False), (196, False), (199, True)])
def test_a_balance_more_than_15_points_from_trainings_is_named(ones, warned, given, raw, data):
    share = (raw["y_train"][:50_000] % 2).mean()
    assert 0.505 < share < 0.511  # so 15 points off are 107.x and 197.x of 300
    expected = (
        f"{ones / 300:.0%} of the calibration pictures are 'odd', but {share:.0%} of the training pictures are; "
        "draw both labels in the proportion of training."
    )
    assert check_calibration(given, record(300, ones), data) == [expected] * warned


def test_a_label_that_is_missing_is_named_however_rare_it_is(given, data):
    rare = np.zeros_like(data.train.labels)
    rare[:2500] = 1
    skewed = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=rare))
    assert check_calibration(given, record(300, 15), skewed) == []
    (warning,) = check_calibration(given, record(300, 0), skewed)
    assert warning.startswith("0% of the calibration pictures are 'odd', but 5% of the training pictures are")


def test_unknown_labels_are_said_to_be_unchecked(given, data):
    assert check_calibration(given, record(300), data) == [
        "The calibration record names no labels, so the balance of the classes was not checked."
    ]


def test_a_record_of_other_pictures_is_refused(given, data):
    for wrong in (record(299), dataclasses.replace(record(300), class_counts=(100, 100))):
        counts = f"says {wrong.count} pictures, by label {wrong.class_counts[0]} and {wrong.class_counts[1]}"
        with pytest.raises(DataError, match=f"{counts}, but 300 came; make the record anew"):
            check_calibration(given, wrong, data)


def test_pictures_of_another_shape_or_dtype_are_refused(given, data):
    for wrong, came in (
        (given[..., 0], "uint8 of shape (28, 28)"),
        (given[:, :20], "uint8 of shape (20, 28, 1)"),
        (given / np.float32(255), "float32 of shape (28, 28, 1)"),
    ):
        sentence = f"The calibration pictures (a folder) are {came}; expected uint8 of shape (28, 28, 1)."
        with pytest.raises(DataError, match=re.escape(sentence)):
            check_calibration(wrong, record(300), data)


def test_pictures_that_lie_scattered_in_memory_are_compared_all_the_same(given, raw, data):
    given[3] = raw["x_test"][9, ..., None]
    scattered = np.asfortranarray(given)
    assert not scattered.flags.c_contiguous
    with pytest.raises(DataError, match=r"^1 of the 300 .*test positions 9\)"):
        warnings_of(scattered, data)


def test_several_warnings_come_together(given, data):
    found = check_calibration(255 - np.concatenate([given[:50], given[:50]]), record(100, 10), data)
    assert [warning.split(" ")[0] for warning in found] == ["100", "50", "The", "10%"]


def test_60000_pictures_take_no_more_than_a_few_passes_over_them(raw, data):
    images = raw["x_train"][..., None]
    start = time.process_time()
    for image in images:
        hashlib.sha256(image.tobytes()).digest()
    one_pass = time.process_time() - start
    start = time.process_time()
    assert check_calibration(images, record(60_000, 30_508), data) == []
    # Twice that measured; comparing each picture with each of the 10,000 would take thousands of times as long.
    assert time.process_time() - start < 50 * one_pass


def numbers_of(images, numbers):
    return [numbers[image.tobytes()] for image in images]


def test_halves_are_disjoint_stratified_training_pictures(raw, data):
    numbers = {image.tobytes(): number for number, image in enumerate(raw["x_train"][:50_000])}
    assert len(numbers) == 50_000  # no two training pictures are equal, so bytes name them
    left, right = (numbers_of(half, numbers) for half in disjoint_draws(data, 2000, seed=5))
    assert len(set(left)) == len(set(right)) == 2000
    assert not set(left) & set(right)
    labels = raw["y_train"][:50_000] % 2
    for half in (left, right):
        assert labels[half].sum() == round(2000 * labels.mean())
        # In random order: the first half of an ordered one would hold one label only.
        assert 400 < labels[half][:1000].sum() < 600


def test_halves_follow_from_the_seed(data):
    first, again, other = (disjoint_draws(data, 100, seed) for seed in (1, 1, 2))
    for half in (0, 1):
        np.testing.assert_array_equal(first[half], again[half])
        assert first[half].shape == (100, 28, 28, 1)
        assert not np.array_equal(first[half], other[half])


def test_halves_that_do_not_fit_are_refused_with_the_label_that_lacks(raw, data):
    ones = int((raw["y_train"][:50_000] % 2).sum())
    zeros = 50_000 - ones
    assert len(disjoint_draws(data, 24_999, seed=0)[0]) == 24_999
    with pytest.raises(DataError, match=rf"of 25002 need \d+ pictures of 'even', but {zeros} train; ask for smaller"):
        disjoint_draws(data, 25_002, seed=0)
