"""The reference dataset: whole, verified, split as published."""

from __future__ import annotations

import numpy as np
import pytest

from oddeven.runtime.errors import DataError, MissingPackageError
from oddeven.train.data import mnist
from oddeven.train.data.registry import load_dataset


@pytest.fixture(scope="module")
def data():
    return load_dataset("mnist")


def test_splits_share_no_sample_and_cover_all(data):
    indices = [set(split.index.tolist()) for split in (data.train, data.validation, data.test)]
    assert [len(split) for split in indices] == [50_000, 10_000, 10_000]
    assert set.union(*indices) == set(range(70_000))


def test_images_and_labels_are_the_published_ones(data, raw):
    for split, source, rows in (
        (data.train, "train", slice(0, 50_000)),
        (data.validation, "train", slice(50_000, 60_000)),
        (data.test, "test", slice(0, 10_000)),
    ):
        digits = raw[f"y_{source}"][rows]
        np.testing.assert_array_equal(split.images[..., 0], raw[f"x_{source}"][rows])
        np.testing.assert_array_equal(split.labels, digits % 2)
        assert split.slices.tolist() == [str(digit) for digit in digits]
    assert data.labels == ("even", "odd")


def test_a_truncated_file_is_refused(tmp_path):
    whole = mnist.FILE.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "mnist.npz"
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"not a readable mnist\.npz"):
            mnist.load_mnist(path)


def test_another_dataset_is_refused_by_its_hash(tmp_path, raw):
    changed = {**raw, "y_test": raw["y_test"].copy()}
    changed["y_test"][0] = 3
    np.savez(tmp_path / "mnist.npz", **changed)
    with pytest.raises(DataError, match="y_test is not MNIST's"):
        mnist.load_mnist(tmp_path / "mnist.npz")


def test_a_missing_array_is_refused(tmp_path, raw):
    np.savez(tmp_path / "mnist.npz", x_train=raw["x_train"])
    with pytest.raises(DataError, match="y_train"):
        mnist.load_mnist(tmp_path / "mnist.npz")


def test_without_the_file_keras_delivers_and_is_verified_too(tmp_path, raw, monkeypatch):
    from keras.datasets import mnist as keras_mnist

    pairs = ((raw["x_train"], raw["y_train"]), (raw["x_test"], raw["y_test"]))
    monkeypatch.setattr(keras_mnist, "load_data", lambda: pairs)
    assert mnist.load_mnist(tmp_path / "absent.npz").sha256 == mnist.load_mnist().sha256
    monkeypatch.setattr(keras_mnist, "load_data", lambda: (pairs[0], pairs[0]))
    with pytest.raises(DataError, match=r"Keras mnist\.load_data"):
        mnist.load_mnist(tmp_path / "absent.npz")


def test_without_file_and_keras_the_pip_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras.datasets", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'oddeven\[train\]'"):
        mnist.load_mnist(tmp_path / "absent.npz")
