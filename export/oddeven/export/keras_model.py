"""Reading a `.keras` file and the ModelSpec inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oddeven.runtime.attachment import read_spec
from oddeven.runtime.errors import ModelError
from oddeven.runtime.spec import ModelSpec


def load(path: Path) -> tuple[Any, ModelSpec]:
    """The Keras model in `path` and its spec. Only safe files are read: none with code or pickles inside.

    Raises:
        ModelError: the file is missing, damaged, unsafe, carries no spec, or is not a two-class image model.
    """
    if not path.is_file() or path.suffix != ".keras":
        raise ModelError(f"{path} is not a .keras file; make one with: oddeven train")
    spec = read_spec(path)
    if spec is None:
        raise ModelError(f"{path} carries no ModelSpec (or is damaged); train it with oddeven train.")
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"Keras cannot load {path}: {reason:.200}") from error
    if tuple(model.input_shape[1:]) != spec.input.shape or tuple(model.output_shape[1:]) != (1,):
        raise ModelError(
            f"{path}: expected {spec.input.shape} in and (1,) out as its spec says, "
            f"got {model.input_shape[1:]} in and {model.output_shape[1:]} out."
        )
    return model, spec
