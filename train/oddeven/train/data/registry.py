"""The datasets that have a name, and the one that a model was trained on. Adding one is a `load` function and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from oddeven.runtime.errors import DataError, UsageError, choose
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec
from oddeven.train.data.dataset import SOURCE_FILE, Dataset, ImageSource
from oddeven.train.data.mnist import load_mnist

DATASETS: Mapping[str, Callable[[], Dataset]] = {"mnist": load_mnist}


@cache
def load_dataset(name: str) -> Dataset:
    """The dataset called `name`, read once.

    Raises:
        UsageError: no dataset has that name.
        DataError: its files are missing, damaged or not the ones expected.
    """
    return DATASETS[choose("dataset", name, DATASETS)]()


def training_dataset(model: Path, spec: ModelSpec, data: Path | None = None) -> Dataset:
    """The dataset that the Keras model in the file `model` was trained on.

    Args:
        model: beside it lies `SOURCE_FILE` where it was trained on a picture set.
        spec: of the model.
        data: where the picture set lies, if it is not where it was.

    Raises:
        UsageError: nothing says where its pictures are.
        DataError: they are not the ones it was trained on.
    """
    from oddeven.train.data.image_folder import load_image_set

    record = model.with_name(SOURCE_FILE)
    if record.is_file():
        source = from_json(ImageSource, record.read_bytes(), str(record))
        dataset = load_image_set(source if data is None else replace(source, path=str(data)))
    elif data is not None:
        dataset = load_image_set(ImageSource(str(data), spec.input, spec.labels[1]))
    elif spec.provenance.dataset in DATASETS:
        dataset = load_dataset(spec.provenance.dataset)
    else:
        raise UsageError(
            f"{model} was trained on the picture set {spec.provenance.dataset!r}, and no {record.name} lies beside it; "
            "say where its pictures are with --data PATH."
        )
    if dataset.sha256 != spec.provenance.dataset_sha256:
        raise DataError(
            f"{model} was trained on another {spec.provenance.dataset} than the one at hand: its pictures, labels or "
            "splits are not the same; give the same files, or train anew."
        )
    return dataset
