"""A seeded split by group, with both labels in proportion, that keeps near-duplicates together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oddeven.train.data.listing import Record
from oddeven.train.data.splits import HASH_SIDE, NEAR_BITS, assign_splits, near_duplicates

NONE = np.empty((0, 2), np.int64)


def records(count, **columns):
    return [Record(Path(str(i)), "x", **{k: f(i) for k, f in columns.items()}) for i in range(count)]


def test_both_labels_are_split_in_proportion():
    labels = (np.arange(1000) < 100).astype(np.uint8)
    homes = assign_splits(records(1000), labels, NONE, seed=0)
    for label, total in ((0, 900), (1, 100)):
        counts = np.bincount(homes[labels == label], minlength=3)
        # An image goes where most is lacking, so no split is off by more than one.
        np.testing.assert_allclose(counts, np.array([0.7, 0.15, 0.15]) * total, atol=1)


def test_the_seed_alone_decides():
    labels = np.arange(200, dtype=np.uint8) % 2
    one = assign_splits(records(200), labels, NONE, seed=1)
    np.testing.assert_array_equal(one, assign_splits(records(200), labels, NONE, seed=1))
    assert not np.array_equal(one, assign_splits(records(200), labels, NONE, seed=2))


def test_groups_and_copies_stay_together():
    labels = np.arange(300, dtype=np.uint8) % 2
    pairs = np.array([[0, 299], [1, 250], [250, 77]])
    homes = assign_splits(records(300, group=lambda i: f"part {i // 6}" if i >= 60 else ""), labels, pairs, seed=3)
    for start in range(60, 300, 6):
        assert len(set(homes[start : start + 6])) == 1
    assert homes[0] == homes[299]
    assert homes[1] == homes[250] == homes[77]
    assert np.bincount(homes).min() >= 30


def test_given_splits_stand_and_a_missing_val_comes_out_of_train():
    labels = np.arange(200, dtype=np.uint8) % 2
    three = ("train", "val", "test")
    np.testing.assert_array_equal(
        assign_splits(records(200, split=lambda i: three[i % 3]), labels, NONE, 0), np.arange(200) % 3
    )
    homes = assign_splits(records(200, split=lambda i: "test" if i < 50 else "train"), labels, NONE, 0)
    assert (homes[:50] == 2).all()
    assert set(homes[50:]) == {0, 1}
    assert (homes == 1).sum() == pytest.approx(150 * 0.15 / 0.85, abs=2)


def test_near_duplicates_are_exactly_the_pairs_within_the_distance():
    random = np.random.default_rng(0)
    hashes = random.random((5000, HASH_SIDE**2)) < 0.5
    for copy, of, bits in ((10, 4000, 0), (11, 3999, NEAR_BITS), (12, 3998, NEAR_BITS + 1)):
        hashes[copy] = hashes[of]
        hashes[copy, random.choice(HASH_SIDE**2, bits, replace=False)] ^= True
    # Random hashes differ in 128 bits, standard deviation 8: only the three made here come near.
    assert near_duplicates(hashes).tolist() == [[10, 4000], [11, 3999]]
