"""`oddeven train`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from oddeven.runtime.errors import UsageError, choose, missing_package
from oddeven.runtime.files import writable_folder
from oddeven.runtime.quiet import quiet
from oddeven.runtime.table import render
from oddeven.train import dataset as datasets
from oddeven.train.architectures import ARCHITECTURES
from oddeven.train.dataset import DATASETS, Dataset
from oddeven.train.recipes import RECIPES, Recipe

QUICK_COUNT = 2000


@click.command()
@click.argument("architectures", nargs=-1, metavar=f"[{'|'.join(ARCHITECTURES)}]...")
@click.option("--recipe", "recipe_name", default="fast", show_default=True, help=f"One of {', '.join(RECIPES)}.")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's own number.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--dataset", "dataset_name", default="mnist", show_default=True, help=f"One of {', '.join(DATASETS)}.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--fresh", is_flag=True, help="Train again what is finished or was interrupted.")
@click.option("--quick", is_flag=True, help=f"Smoke run: one epoch on {QUICK_COUNT} pictures. Not for use.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    architectures: tuple[str, ...],
    recipe_name: str,
    epochs: int | None,
    seed: int,
    dataset_name: str,
    out: Path,
    fresh: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Train Keras models (all three by default) into OUT/<model>/<model>.keras.

    A run that was stopped goes on where it was when the same command is given again.
    """
    names = [choose("architecture", name, ARCHITECTURES) for name in architectures or ARCHITECTURES]
    recipe = RECIPES[choose("recipe", recipe_name, RECIPES)]
    if quick and epochs is not None:
        raise UsageError("--quick is one epoch; leave out --epochs.")
    writable_folder(out)
    data = datasets.load(dataset_name)
    if quick:
        click.secho("SMOKE RUN: one epoch on few pictures. The models are not fit for use.", fg="yellow", err=True)
        data, epochs, recipe_name = _shortened(data), 1, f"{recipe_name} (quick)"
    _import_keras()
    from oddeven.train import plots
    from oddeven.train.fit import Plan, train

    plots.samples(data.test, data.labels, out / "dataset.png")
    results = []
    for name in dict.fromkeys(names):
        click.echo(f"{name}: recipe {recipe_name}, {_epochs(recipe, name, epochs)} epochs, seed {seed}", err=True)
        plan = Plan(name, recipe_name, recipe, data, seed, _epochs(recipe, name, epochs))
        results.append(train(plan, writable_folder(out / name), fresh))
    if len(results) > 1:
        plots.comparison({result.name: result.history for result in results}, out / "comparison.png")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(r) | {"path": str(r.path)} for r in results]))
        return
    header = ("model", "test accuracy", "test loss", "seconds", "file")
    rows = [(r.name, f"{r.test_accuracy:.4f}", f"{r.test_loss:.4f}", f"{r.seconds:.0f}", str(r.path)) for r in results]
    click.echo(render(header, rows))


def _epochs(recipe: Recipe, name: str, epochs: int | None) -> int:
    return epochs or recipe.epochs_for(name)


def _shortened(data: Dataset) -> Dataset:
    """The first pictures of training and validation; the test split stays whole."""
    few = slice(0, QUICK_COUNT)
    return dataclasses.replace(data, train=data.train.take(few), validation=data.validation.take(few))


def _import_keras() -> None:
    """Import TensorFlow without its start-up chatter, or say how to install it."""
    click.echo("importing TensorFlow ...", err=True)
    try:
        with quiet():
            import matplotlib as mpl  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()
    except ImportError as error:
        raise missing_package("Training", "train") from error
