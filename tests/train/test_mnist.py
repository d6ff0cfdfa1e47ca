"""The reference dataset: whole, verified, split as published."""

from __future__ import annotations

import io
from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pytest
from conftest import MNIST

from oddeven.runtime.errors import DataError
from oddeven.runtime.files import sha256
from oddeven.train.data import checkout, mnist
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
    whole = MNIST.read_bytes()
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


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A folder without MNIST, below one that Keras' cache would be in, as a plain installation has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(checkout, "installed_from", lambda: tmp_path / "source")
    return tmp_path


@pytest.mark.parametrize("place", ["train/data/mnist.npz", "source/train/data/mnist.npz", "keras/datasets/mnist.npz"])
def test_it_is_found_in_a_checkout_in_what_was_installed_and_in_the_cache_of_keras(nowhere, place):
    path = nowhere / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(MNIST)
    assert mnist.find_mnist().absolute() == path
    assert len(mnist.load_mnist().test) == 10_000


def served(content):
    return lambda url, timeout: io.BytesIO(content)


def test_it_is_fetched_whole_and_said_so(nowhere, monkeypatch, capsys):
    content = MNIST.read_bytes()  # Keras' file has the same arrays, packed in another way
    monkeypatch.setattr(mnist, "ORIGIN_SHA256", sha256(content))
    monkeypatch.setattr(mnist, "ORIGIN_BYTES", len(content))
    monkeypatch.setattr(mnist, "urlopen", served(content))
    assert mnist.load_mnist().sha256 == mnist.load_mnist(MNIST).sha256
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("downloading MNIST, 11.5 MB, from https://storage.googleapis.com/")
    assert said.err.count("\n") == 1  # the second time it is in the cache
    assert str(nowhere / "keras" / "datasets" / "mnist.npz") in said.err


def cut(url, timeout):
    raise IncompleteRead(b"")


def offline(url, timeout):
    raise URLError("Name or service not known")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (served(b"<html>"), "gave something else than MNIST"),
        (cut, "cannot be downloaded"),
        (offline, r"cannot be downloaded \(Name or service not known\)"),
    ],
)
def test_a_download_that_fails_leaves_nothing_behind(nowhere, monkeypatch, reply, says):
    monkeypatch.setattr(mnist, "urlopen", reply)
    with pytest.raises(DataError, match=f"{says}.*--mnist FILE"):
        mnist.load_mnist()
    assert not list(nowhere.rglob("*.npz"))


def test_a_file_that_is_named_is_the_only_one_that_is_tried(nowhere):
    with pytest.raises(DataError, match=r"There is no file other\.npz.*--mnist FILE"):
        mnist.load_mnist(nowhere.relative_to(nowhere) / "other.npz")
