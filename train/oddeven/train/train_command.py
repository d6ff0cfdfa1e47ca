"""`oddeven train`."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from oddeven.runtime.errors import UsageError, extra, needing
from oddeven.runtime.files import alone_in, writable_folder, write
from oddeven.runtime.process import importing
from oddeven.runtime.schema import to_json
from oddeven.runtime.table import render
from oddeven.train import plots
from oddeven.train.architectures import NAMES
from oddeven.train.backbones import BACKBONES, LITE0, SIDE
from oddeven.train.data.dataset import SOURCE_FILE, Dataset, ImageSource
from oddeven.train.data.image_folder import load_image_set, outline_image_set
from oddeven.train.data.registry import DATASETS, load_dataset
from oddeven.train.dry_run import decoding_note, plan_table
from oddeven.train.fit import Plan, train
from oddeven.train.lite0 import find_weights
from oddeven.train.options import DEFAULT_RECIPE, DEFAULT_SIDE, FEW, TrainOptions
from oddeven.train.recipes import AUGMENTATIONS, RECIPES, TRANSFER
from oddeven.train.result import TrainingResult

FOR_DATA = ("image_size", "positive", "channels", "fit", "split_seed")  # options that need --data
PATH, Natural = click.Path(path_type=Path), click.IntRange(min=0)
MOST_EPOCHS = 1_000_000  # TensorFlow counts steps in 64 bits
rare_option = partial(click.option, hidden=True)  # in docs/command-line.md, as of the other commands


@click.command()
@click.argument("architectures", nargs=-1, type=click.Choice(NAMES))
@click.option(
    "--data",
    type=PATH,
    help="A folder with a folder of images for each label, or a CSV file.  [default: MNIST, odd or even]",
)
@click.option(
    "--image-size",
    metavar="SIDE|HxW",
    help=f"Of the model's input.  [default: {DEFAULT_SIDE}, or {SIDE} for a pretrained network]",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    help=f"[default: {DEFAULT_RECIPE}, or {TRANSFER} for a pretrained network]",
)
@click.option("--epochs", type=click.IntRange(1, MOST_EPOCHS), help="Instead of the recipe's number.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--out", type=PATH, default=Path("runs"), show_default=True)
@click.option("--dry-run", is_flag=True, help="Say what would be read and trained, and roughly how long it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@rare_option("--dataset", type=click.Choice(list(DATASETS)), help="Train on a named dataset instead of a folder.")
@rare_option("--mnist", type=PATH, help="The file mnist.npz, where it is neither in ./train/data nor in Keras' cache.")
@rare_option("--positive", help="The label that counts as 1; the second by name otherwise.")
@rare_option("--channels", type=click.Choice(["1", "3"]), default="3", help="1 for grey, 3 for colour.")
@rare_option(
    "--fit",
    type=click.Choice(["squash", "fit-shortest", "fit-longest"]),
    default="squash",
    help="How images of another aspect ratio are resized.",
)
@rare_option("--max-bad", type=Natural, default=0, help="Unusable images that are left out before the run is refused.")
@rare_option("--split-seed", type=Natural, default=0, help="Seed of the split into training, validation and test.")
@rare_option("--augment", type=click.Choice(list(AUGMENTATIONS)), help="Augmentation instead of the recipe's.")
@rare_option(
    "--balance/--no-balance",
    default=None,
    help="Weigh the images so that both labels count the same; the default for a folder.",
)
@rare_option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after this many epochs without a lower validation loss, and keep the best epoch.",
)
@rare_option(
    "--threshold-by",
    type=click.Choice(["accuracy", "f1", "cost"]),
    help="Choose the threshold on validation images by this measure; one half otherwise.",
)
@rare_option("--cost", help="With --threshold-by cost: such as fp=1,fn=5.")
@rare_option(
    "--weights",
    type=PATH,
    help="A file of a pretrained network's weights; for another network a trained .keras model to start from.",
)
@rare_option(
    "--teacher", type=PATH, help="A trained .keras model to learn from besides the labels (knowledge distillation)."
)
@rare_option(
    "--subclasses",
    is_flag=True,
    help="Learn to tell the slices apart as well, such as digits, where each slice has one label.",
)
@rare_option("--unknown", type=PATH, help="A folder of images of neither label, to be called unknown.")
@rare_option("--fresh", is_flag=True, help="Train again what is finished or was interrupted.")
@rare_option("--quick", is_flag=True, help="Smoke run of one epoch on few images; the models are not fit for use.")
@click.pass_context
def command(
    context: click.Context,
    /,
    architectures: tuple[str, ...],
    out: Path,
    dry_run: bool,
    as_json: bool,
    fresh: bool,
    mnist: Path | None,
    **given: Any,
) -> list[Path]:
    """Train Keras models into OUT/<model>/<model>.keras.

    By default mlp, cnn and deep_cnn, from nothing. For few images of your own, in colour or large, it is lite0, an
    EfficientNet-Lite0 that knows ImageNet.

    A run that was stopped goes on where it was when the same command is given again.
    """
    if dry_run and as_json:
        raise UsageError("--dry-run prints a table; leave out --json.")
    options = TrainOptions(**given)
    names = options.architectures(architectures)
    source = options.source(names)
    for_data = FOR_DATA if options.unknown else (*FOR_DATA, "max_bad")  # of which --unknown has some to allow as well
    on_command_line = [name for name in for_data if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if source is None and on_command_line:
        raise UsageError(f"--{on_command_line[0].replace('_', '-')} is about images of your own; add --data PATH.")
    if not dry_run:
        writable_folder(out)
    if not architectures and set(names) & set(BACKBONES):
        why = f"fewer than {FEW:,} images of a label" if options.recipe is None else f"the recipe {options.recipe}"
        click.echo(f"training {names[0]}, which knows ImageNet: {why}; name another model to train that", err=True)
    with needing("Training", extra("train")):  # said before a dataset is decoded or downloaded
        if find_spec("tensorflow") is None:
            raise ModuleNotFoundError(name="tensorflow")
    if LITE0 in names and not options.weights:
        find_weights()
    data = _dataset(options, source, mnist, dry_run)
    plans = options.plans(names, data)
    if options.quick:
        click.secho("SMOKE RUN: one epoch on few images. The models are not fit for use.", fg="yellow", err=True)
    with importing("TensorFlow", "Training", "train"):
        import matplotlib as mpl  # noqa: F401
        import sklearn  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # so that TensorFlow's start-up messages are held back too
        tf.get_logger().setLevel("ERROR")  # it warns of every batch of another size
    try:
        if dry_run:
            click.echo("" if source is None else f"{decoding_note(source)}\n")
            click.echo(plan_table(plans))
            return []
        plots.samples(data.test, data.labels, out / "dataset.png")
        results = {plan.architecture: _train(plan, source, out / plan.architecture, fresh) for plan in plans}
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise UsageError("There is too little memory to train this; give a smaller --image-size, or a model of fewer "
                         "parameters.") from error  # fmt: skip
    if len(results) > 1:
        plots.curves({name: result.history for name, result in results.items()}, out / "comparison.png")
    paths = {name: str(out / name / f"{name}.keras") for name in results}
    if as_json:
        click.echo(json.dumps([{"name": n, "path": paths[n], **dataclasses.asdict(r)} for n, r in results.items()]))
    else:
        header = ("model", "test accuracy", "test loss", "seconds", "file")
        rows = [(name, f"{r.test_accuracy:.4f}", f"{r.test_loss:.4f}", f"{sum(r.history['seconds']):.0f}", paths[name])
                for name, r in results.items()]  # fmt: skip
        click.echo(render(header, rows))
    return [Path(path) for path in paths.values()]  # for `oddeven pipeline`


def _train(plan: Plan, source: ImageSource | None, folder: Path, fresh: bool) -> TrainingResult:
    """Train in `folder`, where the source of the images is left for export, or none for a named dataset."""
    epochs = f"{plan.epochs} epoch{'s' * (plan.epochs > 1)}"
    click.echo(f"{plan.architecture}: recipe {plan.recipe_name}, {epochs}, seed {plan.seed}", err=True)
    with alone_in(writable_folder(folder)):
        result = train(plan, folder, fresh)  # until it ends, a model that is there is of the source that is there
        if source is None:
            (folder / SOURCE_FILE).unlink(missing_ok=True)
        else:
            write(folder / SOURCE_FILE, to_json(source))
        return result


def _dataset(options: TrainOptions, source: ImageSource | None, mnist: Path | None, dry_run: bool) -> Dataset:
    """The dataset to train on, its warnings and labels printed; its outline for a dry run on an image folder."""
    if source is None:
        return load_dataset(options.dataset or "mnist", mnist)
    if mnist is not None:
        raise UsageError("--mnist names a file of digits; leave it out, or --data.")
    data = outline_image_set(source) if dry_run else load_image_set(source)
    for text in data.warnings:
        click.secho(f"warning: {text}", fg="yellow", err=True)
    click.echo(f"label 0 is {data.labels[0]!r}, label 1 is {data.labels[1]!r}: --positive changes that", err=True)
    return data
