"""Calibrate trained models and fit their familiarity, without training them.

    python -m oddeven.train.refit [--unknown FOLDER] MODEL.keras...

A model may be one of an older version, or one that has this already. The images in FOLDER are of neither label, and to
be called unknown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError, OddEvenError
from oddeven.runtime.process import importing, take
from oddeven.train.data.registry import training_dataset
from oddeven.train.familiarity import calibrate, load_without_familiarity, save_with_familiarity
from oddeven.train.outliers import load_unknown


def refit(path: Path, unknown: Path | None = None) -> float:
    """Refit the model at `path` in place, from the dataset that it was trained on; the temperature that was found.

    Args:
        unknown: a folder of images of neither label, see `load_unknown`.

    Raises:
        ModelError: it was not made by `oddeven train`, or is damaged.
        DataError, UsageError: its dataset is not there, or `unknown` cannot be used.
    """
    spec = read_spec(path) if path.suffix == ".keras" else None
    if spec is None:
        raise ModelError(f"{path} is no .keras model that carries a ModelSpec; train it with oddeven train.")
    data = training_dataset(path, spec)
    shown = load_unknown(unknown, data) if unknown else None
    model = load_without_familiarity(path)
    temperature = calibrate(model, data)
    save_with_familiarity(model, data, spec, path, shown)
    return temperature


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.keras")
    parser.add_argument("--unknown", metavar="FOLDER")
    options = parser.parse_args()
    if options.unknown == "":
        parser.error("--unknown is empty; give a folder.")
    take()
    try:
        with importing("TensorFlow", "Refitting", "train"):
            import tensorflow as tf

            tf.config.list_physical_devices()  # so that TensorFlow's start-up messages are held back too
        for path in options.models:
            print(f"{path}: temperature {refit(path, options.unknown and Path(options.unknown)):.3f}")
    except OddEvenError as error:
        print(f"refit: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says of a command that SIGINT ended
