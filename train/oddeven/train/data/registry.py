"""The named datasets, and the one that a model was trained on. Adding one is a function that gives it, and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from oddeven.runtime.errors import DataError, UsageError, choose
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec
from oddeven.train.data.dataset import SOURCE_FILE, Dataset, ImageSource
from oddeven.train.data.image_folder import load_image_set
from oddeven.train.data.mnist import load_mnist

DATASETS: Mapping[str, Callable[[Path | None], Dataset]] = {"mnist": load_mnist}


@cache
def load_dataset(name: str, file: Path | None = None) -> Dataset:
    """The dataset called `name`, read once, from `file` or from where it usually is.

    Raises:
        UsageError: no dataset has that name.
        DataError: its files are missing, damaged or not the expected ones.
    """
    return DATASETS[choose("dataset", name, DATASETS)](file)


def training_dataset(model: Path, spec: ModelSpec, data: Path | None = None, mnist: Path | None = None) -> Dataset:
    """The dataset that the Keras model in the file `model` was trained on.

    Args:
        model: beside it is `SOURCE_FILE` where it was trained on an image folder.
        spec: of the model.
        data: where the images are, if they were moved.
        mnist: the file with MNIST, for a model that was trained on it.

    Raises:
        UsageError: nothing says where its images are.
        DataError: they are not the ones it was trained on.
    """
    record, trained_on = model.with_name(SOURCE_FILE), spec.provenance.dataset
    if record.is_file():
        source = from_json(ImageSource, record.read_bytes(), str(record))
        if data is None and not Path(source.path).exists():
            raise DataError(
                f"{model} was trained on {source.path}, which is not there; say where it is with --data PATH."
            )
        dataset = load_image_set(source if data is None else replace(source, path=str(data)))
    elif data is not None:
        dataset = load_image_set(ImageSource(str(data), spec.input, spec.labels[1]))
    elif trained_on in DATASETS:
        dataset = load_dataset(trained_on, mnist)
    else:
        raise UsageError(
            f"{model} was trained on the images of {trained_on!r}, and there is no {record.name} beside it; "
            "say where its images are with --data PATH."
        )
    if dataset.sha256 != spec.provenance.dataset_sha256:
        raise DataError(
            f"{model} was trained on other data than this {trained_on!r}: the images, labels or splits differ; give "
            "the same files, or train again."
        )
    return dataset
