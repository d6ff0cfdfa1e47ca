"""How a network is trained, as rows of one table. Adding a recipe is a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from oddeven.train.data.augment import PHOTO, STRONG, Affine


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, apart from data, architecture and seed.

    Attributes:
        batch_size: images a step.
        epochs: by architecture; `default_epochs` for one that is not listed.
        optimizer: `sgd` at a constant rate, or `adamw` with a one-cycle rate (linear rise, cosine fall).
        peak_learning_rate: the constant rate, or the highest of the cycle.
        weight_decay: of AdamW, on kernels only.
        augmentation: random distortion of each training image, or None.
        label_smoothing: the share of each label that goes to the other, 0 to 1.
        transfer: start from a backbone's weights and a linear classifier on its features, and train its upper part.
    """

    batch_size: int
    epochs: Mapping[str, int]
    default_epochs: int
    optimizer: str
    peak_learning_rate: float
    weight_decay: float = 0.0
    augmentation: Affine | None = None
    label_smoothing: float = 0.0
    transfer: bool = False

    def epochs_for(self, architecture: str) -> int:
        """The number of epochs for `architecture`."""
        return self.epochs.get(architecture, self.default_epochs)


LIGHT = Affine(rotation_deg=8.0, log_scale=0.1, shear=0.1, shift_px=1.5)
WIDE = Affine(rotation_deg=10.0, log_scale=0.12, shear=0.12, shift_px=1.5)

# More accurate than `classic`, in a quarter of its time.
FAST = Recipe(
    batch_size=256,
    epochs={"mlp": 14, "cnn": 12, "deep_cnn": 7},
    default_epochs=12,
    optimizer="adamw",
    peak_learning_rate=5e-3,
    weight_decay=0.05,
    augmentation=LIGHT,
)
TRANSFER = "transfer"
RECIPES: Mapping[str, Recipe] = {
    # As published.
    "classic": Recipe(batch_size=32, epochs={}, default_epochs=30, optimizer="sgd", peak_learning_rate=0.01),
    "fast": FAST,
    # The most accurate within the time of `classic`: stronger augmentation and more epochs than `fast`.
    "best": replace(FAST, epochs={"mlp": 70, "cnn": 42, "deep_cnn": 30}, default_epochs=42, augmentation=WIDE),
    # For few images: a network that knows others, adapted gently.
    TRANSFER: Recipe(
        batch_size=32,
        epochs={},
        default_epochs=20,
        optimizer="adamw",
        peak_learning_rate=3e-4,
        weight_decay=0.01,
        augmentation=STRONG,
        label_smoothing=0.1,
        transfer=True,
    ),
}

AUGMENTATIONS: Mapping[str, Affine | None] = {"none": None, "stroke": LIGHT, "photo": PHOTO, "strong": STRONG}
FULL_COUNT = 50_000
STEPS_PER_EPOCH = 150
LEAST_STEPS = 3000
LEAST_BATCH = 16
TRANSFER_IMAGES, LEAST_EPOCHS = 24_000, 5  # shown in fine-tuning, over all epochs


def augmented(recipe: Recipe, augmentation: str) -> Recipe:
    """`recipe` with another augmentation, by its name in `AUGMENTATIONS`; `stroke` leaves the recipe's own."""
    own = recipe.augmentation if augmentation == "stroke" else None
    return replace(recipe, augmentation=own or AUGMENTATIONS[augmentation])


def scaled(recipe: Recipe, count: int) -> Recipe:
    """`recipe`, which is made for `FULL_COUNT` images, for `count` of them: the fewer, the smaller the batches.

    There are about `STEPS_PER_EPOCH` steps an epoch, and at least `LEAST_STEPS` in all, unless the recipe itself shows
    fewer images. AdamW's rate falls with the square root of the batch size (Malladi, Lyu, Panigrahi and Arora, 2022, On
    the SDEs and scaling rules for adaptive gradient algorithms), SGD's in proportion to it (Goyal and others, 2017,
    Accurate, large minibatch SGD). `transfer` is made for few images: the more there are, the fewer its epochs.
    """
    if recipe.transfer:
        return replace(recipe, default_epochs=min(recipe.default_epochs, max(LEAST_EPOCHS, TRANSFER_IMAGES // count)))
    fitting: int = 2 ** int(math.log2(max(1, count / STEPS_PER_EPOCH)))
    batch_size = min(recipe.batch_size, max(LEAST_BATCH, fitting))
    ratio = batch_size / recipe.batch_size
    least = math.ceil(LEAST_STEPS / math.ceil(count / batch_size))

    def longer(epochs: int) -> int:
        return max(epochs, min(least, round(epochs * FULL_COUNT / count)))

    return replace(
        recipe,
        batch_size=batch_size,
        epochs={name: longer(epochs) for name, epochs in recipe.epochs.items()},
        default_epochs=longer(recipe.default_epochs),
        peak_learning_rate=recipe.peak_learning_rate * (ratio if recipe.optimizer == "sgd" else math.sqrt(ratio)),
    )
