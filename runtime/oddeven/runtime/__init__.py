"""The runtime: two-class image classification on any engine, with NumPy and Pillow and without TensorFlow.

from oddeven.runtime import Classifier
with Classifier.load() as classifier:
    print(classifier.predict("photo.jpg").label)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oddeven.runtime.classifier import Classifier
    from oddeven.runtime.errors import OddEvenError
    from oddeven.runtime.prediction import Prediction
    from oddeven.runtime.spec import ModelSpec

__all__ = ["Classifier", "ModelSpec", "OddEvenError", "Prediction"]

_HOMES = {"Classifier": "classifier", "Prediction": "prediction", "OddEvenError": "errors", "ModelSpec": "spec"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `oddeven --help` needs no NumPy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
