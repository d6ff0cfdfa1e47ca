"""What the options of `oddeven train` mean: the images to read, and a plan for each model to train."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oddeven.runtime.errors import UsageError
from oddeven.runtime.files import sha256
from oddeven.runtime.parity.thresholds import ThresholdRule, by_f1, threshold_rule
from oddeven.runtime.spec import InputSpec
from oddeven.train.architectures import PUBLISHED, check_input_size
from oddeven.train.backbones import BACKBONES, LITE0, SIDE
from oddeven.train.data.dataset import Dataset, ImageSource, fingerprint
from oddeven.train.data.listing import read_listing
from oddeven.train.fit import Plan
from oddeven.train.outliers import load_unknown
from oddeven.train.recipes import RECIPES, TRANSFER, augmented, scaled
from oddeven.train.subclasses import find_subclasses
from oddeven.train.teacher import trained_spec

QUICK_COUNT = 2000
DEFAULT_RECIPE, DEFAULT_SIDE = "fast", "64"
FEW = 5000  # images of a label, below which a network that knows other images does better than one trained from nothing


@dataclass(frozen=True)
class TrainOptions:
    """The options as given; None where the default depends on others."""

    data: Path | None
    image_size: str | None
    recipe: str | None
    epochs: int | None
    seed: int
    dataset: str | None
    positive: str | None
    channels: str
    fit: str
    max_bad: int
    split_seed: int
    augment: str | None
    balance: bool | None
    patience: int | None
    threshold_by: str | None
    cost: str | None
    quick: bool
    weights: Path | None = None
    teacher: Path | None = None
    subclasses: bool = False
    unknown: Path | None = None

    def __post_init__(self) -> None:
        """Refuse options that do not fit together (UsageError)."""
        if self.quick and self.epochs is not None:
            raise UsageError("--quick is one epoch; leave out --epochs.")
        if self.data is not None and self.dataset is not None:
            raise UsageError("--data is a dataset of its own; leave out --dataset.")
        if (self.threshold_by == "cost") != (self.cost is not None):
            raise UsageError("--threshold-by cost and --cost fp=COST,fn=COST go together.")
        self.threshold_rule()

    def architectures(self, named: Sequence[str]) -> list[str]:
        """The architectures to train: those `named`, or what suits the images.

        Raises:
            UsageError, DataError: as `source` and `read_listing`.
        """
        pretrained = self.recipe == TRANSFER or (self.recipe is None and not named and self._suits_transfer())
        return list(dict.fromkeys(named)) or ([LITE0] if pretrained else list(PUBLISHED))

    def _suits_transfer(self) -> bool:
        """Whether the images are few, and in colour or large."""
        source = self.source([LITE0])
        if source is None or (source.input.channels == 1 and self.image_size is None):
            return False
        try:
            check_input_size(LITE0, source.input.shape)
        except UsageError:
            return False
        labels = [record.label for record in read_listing(Path(source.path), source.positive).records]
        return min(map(labels.count, set(labels))) < FEW

    def source(self, architectures: Sequence[str] = ()) -> ImageSource | None:
        """The images to train on, at a size for `architectures`; None for a named dataset.

        Raises:
            UsageError: the size is not one.
        """
        if self.data is None:
            return None
        side = self.image_size or (str(SIDE) if set(architectures) & set(BACKBONES) else DEFAULT_SIDE)
        size = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", side)
        height, width = (int(size[1]), int(size[2] or size[1])) if size else (0, 0)
        if not height or not width:
            raise UsageError(
                f"--image-size {side} is not a size; give a side such as 64, or height and width as 48x64."
            )
        spec = InputSpec(height, width, int(self.channels), preprocessing=self.fit)
        return ImageSource(str(self.data.resolve()), spec, self.positive, self.max_bad, self.split_seed)

    def threshold_rule(self) -> ThresholdRule | None:
        """The rule that chooses the threshold; None for one half.

        Raises:
            UsageError: the cost is not one.
        """
        if self.threshold_by == "f1":
            return by_f1
        cost = "fp=1,fn=1" if self.threshold_by == "accuracy" else self.cost
        return threshold_rule(cost, max_fpr=None)

    def plans(self, architectures: Sequence[str], data: Dataset) -> list[Plan]:
        """A plan for each of the architectures, on `data`; its recipe's name says what was changed.

        Raises:
            UsageError: the images are of a size that an architecture does not take, or it has no weights to transfer.
        """
        for name in architectures:
            check_input_size(name, data.input.shape)
        if self.quick:
            few = slice(0, QUICK_COUNT)
            data = replace(data, train=data.train.take(few), validation=data.validation.take(few))
        return [self._plan(name, data) for name in architectures]

    def _plan(self, name: str, data: Dataset) -> Plan:
        recipe_name = self.recipe or (TRANSFER if name in BACKBONES else DEFAULT_RECIPE)
        recipe = original = RECIPES[recipe_name]
        if name in BACKBONES:
            if self.weights and self.weights.suffix == ".keras":
                raise UsageError(f"{self.weights} is a whole model; {name} starts from a file of pretrained weights.")
            row = BACKBONES[name]
            data = replace(data, input=replace(data.input, low=row.low, high=row.high))
        elif recipe.transfer:
            raise UsageError(f"{name} has no pretrained weights; take {', '.join(BACKBONES)}, or another recipe.")
        elif self.weights and (came := trained_spec(self.weights, data).name) != name:
            raise UsageError(f"{self.weights} holds the weights of {came}; expected those of a trained {name}.")
        if self.teacher:
            trained_spec(self.teacher, data)  # a model for other images is refused before the work
        augment, balance = self.augment, self.balance
        kinds = find_subclasses(data) if self.subclasses else None
        if self.subclasses and kinds is None:
            raise UsageError("--subclasses needs slices with images of one label each, and several of them in a label.")
        if self.data is not None:
            recipe = scaled(recipe, len(data.train))
            augment = augment or ("strong" if recipe.transfer else "photo" if recipe.augmentation else "none")
            balance = balance is not False
        if augment is not None:
            recipe = augmented(recipe, augment)
        unknown = load_unknown(self.unknown, data, self.max_bad) if self.unknown else None
        changes = {
            f"augment {augment}": augment,
            f"batch {recipe.batch_size}": recipe.batch_size != original.batch_size,
            "balanced": balance,
            f"patience {self.patience}": self.patience,
            " ".join(filter(None, ("threshold by", self.threshold_by, self.cost))): self.threshold_by,
            f"weights {_fingerprint(self.weights)}": self.weights,
            f"teacher {_fingerprint(self.teacher)}": self.teacher,
            f"{kinds and len(kinds.names)} subclasses {_slices(data)}": kinds,
            f"unknown {fingerprint(unknown)[:12]}" if unknown is not None else "": self.unknown,
            "quick": self.quick,
        }
        changed = ", ".join(change for change, made in changes.items() if made)
        return Plan(
            architecture=name,
            recipe_name=f"{recipe_name} ({changed})" if changed else recipe_name,
            recipe=recipe,
            dataset=data,
            seed=self.seed,
            epochs=1 if self.quick else self.epochs or recipe.epochs_for(name),
            balanced=bool(balance),
            patience=self.patience,
            weights=self.weights,
            threshold=self.threshold_rule(),
            teacher=self.teacher,
            subclasses=kinds,
            unknown=unknown,
        )


def _slices(data: Dataset) -> str:
    """What tells the slices of the images to train and validate on from others."""
    return fingerprint(data.train.slices, data.validation.slices)[:12]


def _fingerprint(path: Path | None) -> str:
    """A file's name and what tells its content from another's; whoever reads it says so where it is missing."""
    return f"{path.name} {sha256(path.read_bytes())[:12]}" if path and path.is_file() else str(path)
