"""Fitting one model: resumable, deterministic, and evaluated once on the test split."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.files import replacing, write
from oddeven.runtime.page import check_templates
from oddeven.runtime.parity.thresholds import ThresholdRule
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import ModelSpec, Provenance
from oddeven.train import plots
from oddeven.train.architectures import build
from oddeven.train.backbones import BACKBONES, freeze
from oddeven.train.checkpoint import History, restore_checkpoint, save_checkpoint
from oddeven.train.data.dataset import Dataset, Split
from oddeven.train.data.input_pipeline import evaluation_batches, steps_per_epoch, training_batches
from oddeven.train.familiarity import calibrate, load_without_familiarity, save_with_familiarity
from oddeven.train.probe import fit_probe, pooled_features
from oddeven.train.recipes import Recipe
from oddeven.train.result import METRICS, TrainingResult
from oddeven.train.subclasses import Subclasses, probability, with_subclasses
from oddeven.train.teacher import teach
from oddeven.train.things import things_folder
from oddeven.train.train_report import examined_images, write_train_report


@dataclass(frozen=True)
class Plan:
    """One training run: which network, how, on what, from which seed.

    Attributes:
        recipe_name: of the recipe and, in brackets, of everything that changes it.
        balanced: weigh the images so that both labels count the same.
        weights: what to start from: a file of a backbone's weights, or a trained `.keras` model of the architecture.
            None for a backbone's own, or random ones.
        teacher: a trained `.keras` model to learn from besides the labels.
        subclasses: to learn to tell apart besides the labels.
        unknown: images of neither label to find unfamiliar, uint8 (N, H, W, C).
        patience: stop after that many epochs without a lower validation loss, and keep the best epoch's weights.
        threshold: chooses the decision threshold on the validation split; None for one half.
    """

    architecture: str
    recipe_name: str
    recipe: Recipe
    dataset: Dataset
    seed: int
    epochs: int
    balanced: bool = False
    patience: int | None = None
    weights: Path | None = None
    threshold: ThresholdRule | None = None
    teacher: Path | None = None
    subclasses: Subclasses | None = None
    unknown: Pixels | None = None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return steps_per_epoch(len(self.dataset.train), self.recipe.batch_size)

    def batches(self, epochs: range) -> Any:
        """The training batches of these epochs, see `training_batches`: images, targets and, if balanced, weights."""
        data, recipe, kinds = self.dataset, self.recipe, self.subclasses
        split = kinds.number(data.train) if kinds else data.train
        batches = training_batches(split, data.input, recipe.batch_size, recipe.augmentation, self.seed, epochs)
        batches = batches.map(kinds.targets) if kinds else batches
        return batches.map(_weigh(data.train.labels)) if self.balanced else batches

    def validation_batches(self) -> Any:
        """The validation images, see `evaluation_batches`, with the targets of `compiled`."""
        data, kinds = self.dataset, self.subclasses
        split = kinds.number(data.validation) if kinds else data.validation
        batches = evaluation_batches(split, data.input)
        return batches.map(kinds.targets) if kinds else batches

    def provenance(self) -> Provenance:
        """What identifies this run: a checkpoint or model with an equal one is its own."""
        return Provenance(
            dataset=self.dataset.name,
            dataset_sha256=self.dataset.sha256,
            recipe=self.recipe_name,
            epochs=self.epochs,
            seed=self.seed,
            versions={name: version(name) for name in ("oddeven", "keras", "tensorflow")},
        )


def train(plan: Plan, folder: Path, fresh: bool = False) -> TrainingResult:
    """Train as `plan` says into `folder`: `<architecture>.keras`, `history.json` and four plots.

    A run that was stopped goes on after its last whole epoch; of one that is finished, the result is read.
    `fresh` starts anew in either case.

    Raises:
        UsageError: no architecture has that name.
        ModelError: the result of a finished run is damaged.
        OutputError: a file cannot be written.
        MissingPackageError: Jinja2 is not installed, which the report of a `transfer` recipe needs.
    """
    path, record = folder / f"{plan.architecture}.keras", folder / "history.json"
    checkpoint, best = folder / ".checkpoint.keras", folder / ".best.weights.h5"
    run = plan.provenance()
    if fresh:
        checkpoint.unlink(missing_ok=True)
    elif path.exists() and record.exists():
        result = from_json(TrainingResult, record.read_bytes(), str(record))
        if result.provenance == run and _is_of(read_spec(path), plan.dataset):
            done = f"{plan.architecture}: already trained by this recipe and seed in {folder}"
            click.echo(f"{done} (--fresh trains again)", err=True)
            return result
    if plan.recipe.transfer:
        check_templates()  # of its report
    network, history = _fit(plan, checkpoint, best)
    result = _evaluate_and_save(plan, network, history, path)
    write(record, to_json(result))
    checkpoint.unlink(missing_ok=True)
    best.unlink(missing_ok=True)
    return result


def _is_of(spec: ModelSpec | None, data: Dataset) -> bool:
    """Whether the model is for the labels and the input of `data`, of which equal pixels say nothing."""
    return spec is not None and (spec.labels, spec.input) == (data.labels, data.input)


def compiled(plan: Plan) -> tuple[Any, Any]:
    """A new network, and the model that trains its layers, with its optimizer: the one-cycle rate spans the whole run.

    They are one where there are no subclasses.
    """
    import keras

    recipe = plan.recipe
    network = build(plan.architecture, plan.dataset.input.shape)
    if plan.architecture in BACKBONES:
        BACKBONES[plan.architecture].load_weights(network, plan.weights)
    elif plan.weights:
        network.set_weights(load_without_familiarity(plan.weights).get_weights())
    if recipe.transfer:
        freeze(network, plan.architecture)
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(recipe.peak_learning_rate)
    else:
        rise = max(1, int(0.3 * plan.epochs * plan.steps))
        cycle = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=recipe.peak_learning_rate / 25,
            warmup_target=recipe.peak_learning_rate,
            warmup_steps=rise,
            decay_steps=max(1, plan.epochs * plan.steps - rise),
            alpha=1e-3,
        )
        optimizer = keras.optimizers.AdamW(cycle, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    model, metrics = network, ["accuracy"]  # type: Any, Any
    loss = keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
    if plan.subclasses:
        model, metrics = with_subclasses(network, plan.subclasses), {"probability": metrics}
        loss = {"probability": loss, "subclass": "sparse_categorical_crossentropy"}
    # XLA on a CPU makes these convolutions up to five times slower.
    model.compile(optimizer, loss=loss, metrics=metrics, jit_compile=False)
    if plan.teacher:
        teach(model, plan.teacher, plan.dataset)
    return network, model


def _fit(plan: Plan, checkpoint: Path, best: Path) -> tuple[Any, History]:
    """The trained network and its history, from the `checkpoint` of this run where there is one."""
    import keras

    keras.utils.set_random_seed(plan.seed)
    (network, model), data = compiled(plan), plan.dataset
    history = restore_checkpoint(checkpoint, model, plan.provenance()) or {key: [] for key in METRICS}
    done = len(history["loss"])
    if done:
        click.echo(f"{plan.architecture}: resuming after epoch {done} of {plan.epochs}", err=True)
    elif plan.recipe.transfer:
        click.echo(f"{plan.architecture}: a linear classifier on its frozen features first", err=True)
        kernel, bias = fit_probe(pooled_features(network, data.train, data.input), data.train.labels)
        network.get_layer("probability").set_weights([kernel[:, None], np.array([bias])])
    if not _stops_early(plan, history):
        with redirect_stdout(sys.stderr):  # Keras prints its progress to stdout, which is for results
            model.fit(
                plan.batches(range(done, plan.epochs)),
                initial_epoch=done,
                epochs=plan.epochs,
                steps_per_epoch=plan.steps,
                shuffle=False,
                validation_data=plan.validation_batches(),
                callbacks=[_each_epoch(plan, model, history, checkpoint, best)],
                verbose=1 if sys.stderr.isatty() else 2,
            )
    if plan.patience:
        model.load_weights(best)
    return network, history


def _weigh(labels: Any) -> Callable[[Any, Any], tuple[Any, Any, Any]]:
    """Adds a weight to each image of a batch: both labels together count the same, and an image 1 on average."""
    import tensorflow as tf

    weights = tf.constant(len(labels) / (2 * np.bincount(labels, minlength=2)), tf.float32)
    return lambda images, targets: (images, targets, tf.gather(weights, tf.cast(probability(targets)[:, 0], tf.int32)))


def _stops_early(plan: Plan, history: History) -> bool:
    losses = history["val_loss"]
    return bool(plan.patience and losses and len(losses) - 1 - int(np.argmin(losses)) >= plan.patience)


def _each_epoch(plan: Plan, model: Any, history: History, checkpoint: Path, best: Path) -> Any:
    """The callback that seeds an epoch's dropout by (seed, epoch), times it, saves the state and stops early."""
    import keras

    started = [0.0, 0.0]
    run = plan.provenance()

    def begin(epoch: int, logs: object = None) -> None:
        for number, layer in enumerate(model.layers):
            if hasattr(layer, "seed_generator"):
                layer.seed_generator.state.assign([plan.seed * 1000 + number, epoch << 20])
        started[:] = time.perf_counter(), time.process_time()

    def end(epoch: int, logs: dict[str, float]) -> None:
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        labels = {key.replace("probability_", ""): value for key, value in logs.items() if "probability_" in key}
        measured = {**logs, **labels, "seconds": wall, "cpu_seconds": cpu}
        for key in METRICS:
            history[key].append(float(measured[key]))
        # In this order: a run that is killed in between repeats the epoch and writes the same weights again.
        if plan.patience and int(np.argmin(history["val_loss"])) == epoch:
            with replacing(best) as partial:
                model.save_weights(partial)
        save_checkpoint(checkpoint, model, history, run)
        model.stop_training = _stops_early(plan, history)

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)


def _evaluate_and_save(plan: Plan, network: Any, history: History, path: Path) -> TrainingResult:
    """Calibrate the trained network, evaluate it on the test split, once, plot it, and save it with its familiarity."""
    import keras

    data, folder = plan.dataset, path.parent
    bare = build(plan.architecture, data.input.shape)
    bare.set_weights(network.get_weights())
    calibrate(bare, data)

    def predict(split: Split) -> Any:
        return bare.predict(evaluation_batches(split, data.input), verbose=0)[:, 0]

    threshold = plan.threshold(predict(data.validation), data.validation.labels) if plan.threshold else 0.5
    probabilities, labels = predict(data.test), data.test.labels
    plots.curves({plan.architecture: history}, folder / "curves.png")
    plots.predictions(data, probabilities, threshold, folder / "predictions.png")
    plots.mistakes(data, probabilities, threshold, folder / "mistakes.png")
    plots.evaluation(data, probabilities, threshold, folder / "evaluation.png")
    if plan.recipe.transfer:
        click.echo(f"{plan.architecture}: cross-validating for {folder / 'train-report.html'}", err=True)
        split = examined_images(data, plan.seed)
        features = pooled_features(compiled(plan)[0], split, data.input)  # of the network before fine-tuning
        write_train_report(folder / "train-report.html", bare, data, features, split, probabilities, threshold)
    others = ["made-up images"]
    if data.input.channels == 3 and things_folder():
        others.append("clip art")
    if plan.unknown is not None:
        others.append(f"{len(plan.unknown)} of neither label")
    click.echo(f"{plan.architecture}: fitting how familiar an image is, from {' and '.join(others)}", err=True)
    spec = ModelSpec(plan.architecture, data.labels, data.input, plan.provenance(), threshold)
    save_with_familiarity(bare, data, spec, path, plan.unknown)
    return TrainingResult(
        provenance=plan.provenance(),
        history={name: tuple(values) for name, values in history.items()},
        test_accuracy=float(np.mean((probabilities > threshold) == labels)),
        test_loss=float(keras.losses.BinaryCrossentropy()(labels[:, None], probabilities[:, None])),
        threshold=threshold,
    )
