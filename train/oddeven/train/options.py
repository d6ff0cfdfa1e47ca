"""What `oddeven train` asks about a picture set, and what is to be chosen for any dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from oddeven.runtime.errors import UsageError
from oddeven.runtime.parity.thresholds import ThresholdRule, by_f1, threshold_rule
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import ImageSource
from oddeven.train.recipes import AUGMENTATIONS, Recipe

FITS = ("squash", "fit-shortest", "fit-longest")
DEFAULT_SIDE = 64
# Shown by --help in this order. No defaults here: they are `_source`'s, which must know what was asked for.
PICTURES: Mapping[str, dict[str, Any]] = {
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
TRAINING: Mapping[str, dict[str, Any]] = {
    "--augment": {
        "type": click.Choice(list(AUGMENTATIONS)),
        "help": "How training pictures vary: a photo may be mirrored, a stroke not.  [default: photo with --data]",
    },
    "--balance/--no-balance": {"default": None, "help": "Both labels count the same.  [default: with --data]"},
    "--patience": {"type": click.IntRange(min=1), "help": "Stop so many epochs behind the best one, and keep that."},
    "--threshold-by": {
        "type": click.Choice(["accuracy", "f1", "cost"]),
        "help": "What the threshold serves best on validation.  [default: it is one half]",
    },
    "--cost": {
        "metavar": "fp=COST,fn=COST",
        "help": "For --threshold-by cost: of a false positive, of a false negative.",
    },
}

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Choices:
    """What is chosen for a dataset besides the recipe; None where nothing was said. See `TRAINING`."""

    augment: str | None
    balance: bool | None
    patience: int | None
    threshold_by: str | None
    cost: str | None

    def for_pictures(self, recipe: Recipe) -> Choices:
        """With what suits photographs where nothing was said."""
        augment = self.augment or ("photo" if recipe.augmentation else "none")
        return replace(self, augment=augment, balance=self.balance is not False)

    def described(self, recipe: Recipe, original: Recipe, quick: bool) -> str:
        """What differs from training by the `original` recipe, in brackets, for the name of the recipe."""
        notes = {
            f"augment {self.augment}": self.augment,
            f"batch {recipe.batch_size}": recipe.batch_size != original.batch_size,
            "balanced": self.balance,
            f"patience {self.patience}": self.patience,
            " ".join(filter(None, ("threshold by", self.threshold_by, self.cost))): self.threshold_by,
            "quick": quick,
        }
        said = ", ".join(note for note, made in notes.items() if made)
        return f" ({said})" if said else ""

    def threshold(self) -> ThresholdRule | None:
        """The function that chooses the threshold, or None for one half.

        Raises:
            UsageError: the cost is none.
        """
        if self.threshold_by in {None, "f1"}:
            return by_f1 if self.threshold_by else None
        return threshold_rule(self.cost or "fp=1,fn=1", None)


def picture_options(command: Command) -> Command:
    """Give a click command the options in `PICTURES`."""
    return _with(PICTURES, command)


def training_options(command: Command) -> Command:
    """Give a click command the options in `TRAINING`."""
    return _with(TRAINING, command)


def read(given: Mapping[str, Any]) -> tuple[ImageSource | None, Choices]:
    """The picture set, None without `--data`, and the choices that the values `given` for all these options mean.

    Raises:
        UsageError: they do not fit together, or one cannot be.
    """
    names = {field.name for field in fields(Choices)}
    choices = Choices(**{name: value for name, value in given.items() if name in names})
    if (choices.threshold_by == "cost") != (choices.cost is not None):
        raise UsageError("--threshold-by cost and --cost fp=COST,fn=COST go together.")
    choices.threshold()
    return _source(**{name: value for name, value in given.items() if name not in names}), choices


def _with(table: Mapping[str, dict[str, Any]], command: Command) -> Command:
    for name, settings in reversed(list(table.items())):
        command = click.option(name, **settings)(command)
    return command


def _source(data: Path | None, image_size: str | None, **rest: Any) -> ImageSource | None:
    if data is None:
        if any(value is not None for value in (image_size, *rest.values())):
            raise UsageError(f"{', '.join(list(PICTURES)[1:])} are about a picture set; say where it lies with --data.")
        return None
    size = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", image_size or str(DEFAULT_SIDE))
    if size is None or not int(size[1]) or not int(size[2] or 1):
        raise UsageError(f"--image-size {image_size} is no size; give a side such as 64, or height and width as 48x64.")
    height, width, channels = int(size[1]), int(size[2] or size[1]), int(rest["channels"] or 3)
    return ImageSource(
        path=str(data.resolve()),
        input=InputSpec(height, width, channels, preprocessing=rest["fit"] or FITS[0]),
        positive=rest["positive"],
        max_bad=rest["max_bad"] or 0,
        seed=rest["split_seed"] or 0,
    )
