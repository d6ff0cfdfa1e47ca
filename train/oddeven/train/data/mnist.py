"""MNIST, odd or even: the reference task, and the only file of the toolkit that knows about digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.runtime.errors import DataError, extra, needing
from oddeven.runtime.files import DAMAGED
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import Dataset, Split, fingerprint

FILE = Path(__file__).parents[3] / "data" / "mnist.npz"
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


def load_mnist(path: Path = FILE) -> Dataset:
    """MNIST from `path`, or through Keras where that file is absent, verified.

    The published split: the first 50,000 training images train, the last 10,000 validate, the test images test.

    Raises:
        DataError: the file is damaged or holds other arrays than MNIST's.
        MissingPackageError: there is no file, and no Keras to fetch one.
    """
    arrays = _read(path) if path.exists() else _fetch()
    for key, expected in SHA256.items():
        if (got := fingerprint(arrays[key])) != expected:
            raise DataError(
                f"{path if path.exists() else 'Keras mnist.load_data()'}: {key} is not MNIST's: expected SHA-256 "
                f"{expected[:12]}..., got {got[:12]}... of {arrays[key].dtype} {arrays[key].shape}."
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


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in SHA256}
    except DAMAGED as error:
        raise DataError(
            f"{path} is not a readable mnist.npz ({error}); restore it with: git checkout -- train/data"
        ) from error


def _fetch() -> Mapping[str, Any]:
    """Keras' own copy, downloaded once into its cache folder."""
    with needing("Fetching MNIST", extra("train")):
        from keras.datasets import mnist
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
