"""A training run on few images, as a process that a test can kill: `short_run.py FOLDER EPOCHS`."""

import dataclasses
import sys
from pathlib import Path

from oddeven.train.data.registry import load_dataset
from oddeven.train.fit import Plan, train
from oddeven.train.recipes import RECIPES


def plan(epochs):
    whole = load_dataset("mnist")
    few = dataclasses.replace(
        whole,
        train=whole.train.take(slice(0, 400)),
        validation=whole.validation.take(slice(0, 200)),
        test=whole.test.take(slice(0, 1000)),
    )
    return Plan("deep_cnn", "fast", RECIPES["fast"], few, 5, epochs)


if __name__ == "__main__":
    train(plan(int(sys.argv[2])), Path(sys.argv[1]))
