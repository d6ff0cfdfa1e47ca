"""Calibrate trained models and fit their familiarity, without training them.

    python -m oddeven.train.refit MODEL.keras...

A model may be one of an older version, or one that has this already.
"""

from __future__ import annotations

import sys
from pathlib import Path

from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError
from oddeven.train.data.registry import training_dataset
from oddeven.train.familiarity import calibrate, load_without_familiarity, save_with_familiarity


def refit(path: Path) -> float:
    """Refit the model at `path` in place, from the dataset that it was trained on; the temperature that was found.

    Raises:
        ModelError: it was not made by `oddeven train`.
        DataError, UsageError: its dataset is not there.
    """
    if not (spec := read_spec(path)):
        raise ModelError(f"{path} carries no ModelSpec; train it with oddeven train.")
    data = training_dataset(path, spec)
    model = load_without_familiarity(path)
    temperature = calibrate(model, data)
    save_with_familiarity(model, data, spec, path)
    return temperature


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: temperature {refit(Path(name)):.3f}")
