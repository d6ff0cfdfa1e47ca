"""MNIST, odd or even: the reference task, and the only file of the toolkit that knows about digits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import numpy as np

from oddeven.runtime.errors import DataError
from oddeven.runtime.files import DAMAGED, sha256, write
from oddeven.runtime.spec import InputSpec
from oddeven.train.data import checkout
from oddeven.train.data.dataset import Dataset, Split, fingerprint

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"  # as Keras has it
ORIGIN_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
ORIGIN_BYTES = 11_490_434
TIMEOUT_S = 30
ANOTHER = (
    "Run this in a checkout of oddeven, which holds it in train/data, or say where mnist.npz is with --mnist FILE."
)
SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
TRAIN_COUNT = 50_000
INPUT = InputSpec(
    height=28,
    width=28,
    channels=1,
    polarity="light-on-dark",
    preprocessing="mnist",
    parameters={"stroke_side": 20.0},
)


def load_mnist(file: Path | None = None) -> Dataset:
    """MNIST from `file` or, without one, from where `find_mnist` finds it, verified.

    The published split: the first 50,000 training images train, the last 10,000 validate, the test images test.

    Raises:
        DataError: the file is missing, damaged or holds other arrays than MNIST's, or cannot be fetched.
        OutputError: the file that was fetched cannot be written.
    """
    path = file or find_mnist()
    arrays = _read(path)
    for key, expected in SHA256.items():
        if (got := fingerprint(arrays[key])) != expected:
            raise DataError(
                f"{path}: {key} is not MNIST's: expected SHA-256 {expected[:12]}..., got {got[:12]}... of "
                f"{arrays[key].dtype} {arrays[key].shape}. {ANOTHER}"
            )
    digits = np.concatenate([arrays["y_train"], arrays["y_test"]])
    whole = Split(
        images=np.concatenate([arrays["x_train"], arrays["x_test"]])[..., np.newaxis],
        labels=digits % 2,
        slices=digits.astype(np.str_),
        index=np.arange(len(digits)),
    )
    test_start = len(arrays["y_train"])
    return Dataset(
        name="mnist",
        sha256=fingerprint(*(arrays[key] for key in SHA256)),
        labels=("even", "odd"),
        input=INPUT,
        train=whole.take(slice(0, TRAIN_COUNT)),
        validation=whole.take(slice(TRAIN_COUNT, test_start)),
        test=whole.take(slice(test_start, None)),
    )


def find_mnist() -> Path:
    """The file with MNIST: in a checkout, as `checkout.find` has it, or in Keras' cache, where it is put if need be.

    Raises:
        DataError: there is none, and it cannot be fetched.
        OutputError: the file that was fetched cannot be written.
    """
    if path := checkout.find("mnist.npz"):
        return path
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / "mnist.npz"
    if not cache.is_file():
        _fetch(cache)
    return cache


def _fetch(path: Path) -> None:
    """Download what `keras.datasets.mnist` would, which writes to stdout and imports TensorFlow first."""
    click.echo(f"downloading MNIST, {ORIGIN_BYTES / 1e6:.1f} MB, from {ORIGIN} to {path} ...", err=True)
    try:
        with urlopen(ORIGIN, timeout=TIMEOUT_S) as reply:
            content = reply.read(ORIGIN_BYTES + 1)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"MNIST is not here and cannot be downloaded ({reason}). {ANOTHER}") from error
    if (got := sha256(content)) != ORIGIN_SHA256:
        raise DataError(
            f"{ORIGIN} gave something else than MNIST: expected SHA-256 {ORIGIN_SHA256[:12]}..., got {got[:12]}... of "
            f"{len(content):,} bytes. {ANOTHER}"
        )
    write(path, content)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in SHA256}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. {ANOTHER}") from error
    except DAMAGED as error:
        raise DataError(f"{path} is not a readable mnist.npz ({error}). {ANOTHER}") from error
