"""A model that this project did not train, and what must be said of it: labels, images, and the values it expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.export.keras_model import read_keras_model
from oddeven.export.onnx_model import OnnxModel, read_onnx_model, with_values
from oddeven.export.saved_model import read_saved_model
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError, UsageError, choose
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.process import quiet
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance, model_name
from oddeven.runtime.value_range import RANGES, ValueRange, balanced_sample, find_range
from oddeven.train.data.dataset import Dataset, ImageSource
from oddeven.train.data.image_folder import load_image_set

BATCH = 32
READERS: Mapping[str, Callable[[Path, bool], Any]] = {
    "folder": read_saved_model, ".keras": read_keras_model, ".h5": read_keras_model, ".onnx": read_onnx_model,
}  # fmt: skip


@dataclass(frozen=True)
class OwnModel:
    """What is known of a model that carries no spec.

    Attributes:
        spec: for its files.
        values: that it expects.
        dataset: images that calibrate and test it.
        finding: on `values`, for the user.
    """

    spec: ModelSpec
    values: ValueRange
    dataset: Dataset
    finding: str

    def load(self, path: Path, from_logits: bool) -> Any:
        """The model in `path`, which takes RGB images in the spec's value range.

        Raises:
            ModelError: as its reader.
        """
        return _behind(read_any_model(path, from_logits), self.values)


def read_any_model(path: Path, from_logits: bool) -> Any:
    """The model in a `.keras`, `.h5` or `.onnx` file or in a SavedModel's folder, float32 (N, H, W, C) to (N, 1).

    Raises:
        UsageError: it is none of these.
        ModelError: it is missing, damaged, or not a two-class image model.
    """
    if not path.exists():
        raise ModelError(f"There is no model {path}.")
    kind = "folder" if path.is_dir() else path.suffix
    return READERS[choose("kind of model", kind, READERS)](path, from_logits)


def describe(
    path: Path, labels: tuple[str, str], data: Path, range_name: str | None, fit: str, from_logits: bool
) -> OwnModel:
    """What the model in `path` is, which value range fits it, and its images.

    Args:
        labels: of 0 and 1, as the model gives them.
        data: an image folder or CSV file, see `oddeven.train.data.listing.read_listing`.
        range_name: a name in `RANGES`; None to find out.
        fit: a name in `PREPROCESSINGS`.

    Raises:
        UsageError: the file carries a spec; or another range, or the labels the other way round, would do.
        ModelError: as its reader, or the model is no better than chance on these images.
        DataError: the images cannot be used, or have other labels.
    """
    if path.suffix == ".keras" and path.is_file() and read_spec(path):
        raise UsageError(f"{path} says itself what its labels are; leave out --labels and --range.")
    model = read_any_model(path, from_logits)
    height, width, channels = model.input_shape[1:]
    seen = InputSpec(height, width, channels, preprocessing=fit)
    dataset = load_image_set(ImageSource(str(data.resolve()), seen, labels[1]))
    choose("label", labels[0], dataset.labels)
    images, truth = balanced_sample(dataset.train.images, dataset.train.labels)
    names = [name for name, row in RANGES.items() if row.plain or channels == 3]
    if range_name:
        choose("value range for such images", range_name, names)

    def predict(name: str) -> Any:
        values = RANGES[name]
        pixels = to_float(images, replace(seen, low=values.low, high=values.high))
        with quiet():  # TensorFlow wonders about so many models
            return np.asarray(_behind(model, values).predict(pixels, batch_size=BATCH, verbose=0))[:, 0]

    found, finding = find_range(str(path), names, range_name, predict, truth, labels)
    values = RANGES[found]
    spec = ModelSpec(
        name=model_name(path),
        labels=labels,
        input=replace(seen, low=values.low, high=values.high),
        provenance=Provenance(dataset.name, dataset.sha256, "trained elsewhere", 0, 0, {}),
    )
    return OwnModel(spec, values, dataset, finding)


def _behind(model: Any, values: ValueRange) -> Any:
    """`model`, behind a layer for the mean, deviation and channel order of `values` if it expects any."""
    if values.plain:
        return model
    if isinstance(model, OnnxModel):
        return with_values(model, values)
    import keras

    kernel, bias = values.matrix()
    image = keras.Input(model.input_shape[1:], name="image")
    layer = keras.layers.Conv2D(3, 1, name="values")
    changed = keras.Model(image, model(layer(image)), name=model.name)
    layer.set_weights([kernel[None, None], bias])
    return changed
