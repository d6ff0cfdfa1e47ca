"""The options of `oddeven train` that say what a picture set is, and what is to be chosen for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from oddeven.runtime.errors import UsageError
from oddeven.train.dataset import Source

FITS = ("squash", "fit-shortest", "fit-longest")
DEFAULT_SIDE = 64
# Shown in --help, in this order. None stands for what `source` says, so that it is known what was asked for.
OPTIONS: Mapping[str, dict[str, Any]] = {
    "--data": {
        "type": click.Path(path_type=Path),
        "help": "A folder with a folder of pictures for each label, or a CSV of path,label[,split,group,slice].",
    },
    "--positive": {"help": "The label whose probability the model gives.  [default: the second by name]"},
    "--channels": {"type": click.Choice(["1", "3"]), "help": "Grey or colour.  [default: 3]"},
    "--image-size": {"metavar": "SIDE|HxW", "help": f"What the model sees, in pixels.  [default: {DEFAULT_SIDE}]"},
    "--fit": {"type": click.Choice(FITS), "help": "How a picture is brought to that size.  [default: squash]"},
    "--max-bad": {"type": click.IntRange(min=0), "help": "So many pictures may be unusable.  [default: 0]"},
    "--split-seed": {"type": click.IntRange(min=0), "help": "Of the draw of validation and test.  [default: 0]"},
}

Command = TypeVar("Command", bound=Callable[..., Any])


def picture_options(command: Command) -> Command:
    """Give a click command the options that `source` takes."""
    for name, settings in reversed(list(OPTIONS.items())):
        command = click.option(name, **settings)(command)
    return command


def source(
    data: Path | None,
    positive: str | None,
    channels: str | None,
    image_size: str | None,
    fit: str | None,
    max_bad: int | None,
    split_seed: int | None,
) -> Source | None:
    """The picture set that the options mean, or None for no `--data`.

    Raises:
        UsageError: an option about pictures is given without `--data`, or a size is none.
    """
    if data is None:
        if any(option is not None for option in (positive, channels, image_size, fit, max_bad, split_seed)):
            raise UsageError("--positive, --channels, --image-size, --fit, --max-bad and --split-seed go with --data.")
        return None
    from oddeven.runtime.spec import InputSpec

    size = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", image_size or str(DEFAULT_SIDE))
    if size is None or not int(size[1]) or not int(size[2] or 1):
        raise UsageError(f"--image-size {image_size} is no size; give a side such as 64, or height and width as 48x64.")
    wanted = InputSpec(int(size[1]), int(size[2] or size[1]), int(channels or 3), preprocessing=fit or FITS[0])
    return Source(str(data.resolve()), wanted, positive, max_bad or 0, split_seed or 0)


def threshold(by: str | None, cost: str | None) -> Callable[..., float] | None:
    """The function that `--threshold-by` and `--cost` mean; None for a threshold of one half.

    Raises:
        UsageError: they do not fit together, or the cost is none.
    """
    from oddeven.runtime import operating_point

    if (by == "cost") != (cost is not None):
        raise UsageError("--threshold-by cost and --cost FALSE_ALARM:MISS go together.")
    if by == "f1":
        return operating_point.by_f1
    if by is None:
        return None
    try:
        alarm, miss = (float(part) for part in (cost or "1:1").split(":"))
    except ValueError:
        alarm = miss = 0.0
    if not 0.0 < min(alarm, miss) <= max(alarm, miss) < float("inf"):
        raise UsageError(f"--cost {cost} is no cost; give those of a false alarm and of a miss, such as 1:5.")
    return partial(operating_point.by_cost, false_positive=alarm, false_negative=miss)
