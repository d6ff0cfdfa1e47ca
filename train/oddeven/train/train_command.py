"""`oddeven train`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oddeven.runtime.errors import UsageError, choose
from oddeven.runtime.files import alone_in, writable_folder, write
from oddeven.runtime.process import importing
from oddeven.runtime.schema import to_json
from oddeven.runtime.table import render
from oddeven.train import options
from oddeven.train.architectures import ARCHITECTURES, check_size
from oddeven.train.data.dataset import SOURCE_FILE, Dataset, ImageSource
from oddeven.train.data.image_folder import load_image_set, outline_image_set
from oddeven.train.data.registry import DATASETS, load_dataset
from oddeven.train.options import picture_options, training_options
from oddeven.train.recipes import RECIPES, augmented, scaled

if TYPE_CHECKING:
    from oddeven.train.fit import Trained

QUICK_COUNT = 2000


@click.command()
@click.argument("architectures", nargs=-1, metavar=f"[{'|'.join(ARCHITECTURES)}]...")
@click.option("--recipe", "recipe_name", default="fast", show_default=True, help=f"One of {', '.join(RECIPES)}.")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's own number.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--dataset", "dataset_name", help=f"One of {', '.join(DATASETS)}.  [default: mnist, without --data]")
@picture_options
@training_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--fresh", is_flag=True, help="Train again what is finished or was interrupted.")
@click.option("--quick", is_flag=True, help=f"Smoke run: one epoch on {QUICK_COUNT} pictures. Not for use.")
@click.option("--dry-run", is_flag=True, help="Say what would be read and trained, and roughly how long; do neither.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    architectures: tuple[str, ...],
    recipe_name: str,
    epochs: int | None,
    seed: int,
    dataset_name: str | None,
    out: Path,
    fresh: bool,
    quick: bool,
    dry_run: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train Keras models (all three by default) into OUT/<model>/<model>.keras.

    A run that was stopped goes on where it was when the same command is given again.
    """
    names = [choose("architecture", name, ARCHITECTURES) for name in dict.fromkeys(architectures or ARCHITECTURES)]
    recipe = RECIPES[choose("recipe", recipe_name, RECIPES)]
    if quick and epochs is not None:
        raise UsageError("--quick is one epoch; leave out --epochs.")
    source, choices = options.read(chosen)
    if not dry_run:
        writable_folder(out)
    data = _dataset(dataset_name, source, dry_run)
    for name in names:
        check_size(name, data.input.shape)
    if quick:
        click.secho("SMOKE RUN: one epoch on few pictures. The models are not fit for use.", fg="yellow", err=True)
        data, epochs = _shortened(data), 1
    if source is not None:
        choices, recipe = choices.for_pictures(recipe), scaled(recipe, len(data.train))
    recipe = recipe if choices.augment is None else augmented(recipe, choices.augment)
    recipe_name += choices.described(recipe, RECIPES[recipe_name], quick)
    _import_keras()
    from oddeven.train import plots
    from oddeven.train.fit import Plan, train

    plans = []
    for name in names:
        length = epochs or recipe.epochs_for(name)
        plan = Plan(name, recipe_name, recipe, data, seed, length, bool(choices.balance), choices.patience)
        plans.append(dataclasses.replace(plan, threshold=choices.threshold()))
    if dry_run:
        from oddeven.train.dry_run import plan_table, reading

        click.echo("" if source is None else f"{reading(source)}\n")
        click.echo(plan_table(plans))
        return
    plots.samples(data.test, data.labels, out / "dataset.png")
    results = []
    for plan in plans:
        click.echo(f"{plan.architecture}: recipe {recipe_name}, {plan.epochs} epochs, seed {seed}", err=True)
        folder = writable_folder(out / plan.architecture)
        with alone_in(folder):
            _record(source, folder / SOURCE_FILE)
            results.append(train(plan, folder, fresh))
    if len(results) > 1:
        plots.comparison({result.name: result.history for result in results}, out / "comparison.png")
    click.echo(_listed(results, as_json))


def _record(source: ImageSource | None, path: Path) -> None:
    """Leave beside a model what its pictures were, for export; or nothing where they have a name."""
    if source is None:
        path.unlink(missing_ok=True)
    else:
        write(path, to_json(source))


def _listed(results: list[Trained], as_json: bool) -> str:
    """The results as JSON, or as a table."""
    if as_json:
        return json.dumps([dataclasses.asdict(r) | {"path": str(r.path)} for r in results])
    header = ("model", "test accuracy", "test loss", "seconds", "file")
    rows = [(r.name, f"{r.test_accuracy:.4f}", f"{r.test_loss:.4f}", f"{r.seconds:.0f}", str(r.path)) for r in results]
    return render(header, rows)


def _dataset(name: str | None, source: ImageSource | None, dry_run: bool) -> Dataset:
    """The dataset to train on, its doubts and labels told; on a dry run of a picture set, its outline."""
    if source is None:
        return load_dataset(name or "mnist")
    if name is not None:
        raise UsageError("--data is a dataset of its own; leave out --dataset.")
    data = outline_image_set(source) if dry_run else load_image_set(source)
    for text in data.warnings:
        click.secho(f"warning: {text}", fg="yellow", err=True)
    click.echo(f"label 0 is {data.labels[0]!r}, label 1 is {data.labels[1]!r}: --positive changes that", err=True)
    return data


def _shortened(data: Dataset) -> Dataset:
    """The first pictures of training and validation; the test split stays whole."""
    few = slice(0, QUICK_COUNT)
    return dataclasses.replace(data, train=data.train.take(few), validation=data.validation.take(few))


def _import_keras() -> None:
    """Import TensorFlow without its start-up chatter, or say how to install it."""
    with importing("TensorFlow", "Training", "train"):
        import matplotlib as mpl  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
