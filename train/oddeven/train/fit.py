"""Fitting one model: resumable, deterministic, and judged once on the test split."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.runtime.engines.metadata import attach_to_keras
from oddeven.runtime.files import replacing, write
from oddeven.runtime.parity.thresholds import Labels, Scores
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import ModelSpec, Provenance
from oddeven.train import checkpoint, plots
from oddeven.train.architectures import build
from oddeven.train.checkpoint import History
from oddeven.train.data.dataset import Dataset
from oddeven.train.data.input_pipeline import in_order, input_pipeline, steps_per_epoch
from oddeven.train.recipes import Recipe

BATCH = 1000
BEST = ".best.weights.h5"
MEASURES = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds", "cpu_seconds")


@dataclass(frozen=True)
class Plan:
    """One training run: which network, how, on what, from which seed.

    Attributes:
        recipe_name: of the recipe and, in brackets, of all that the fields below change.
        balanced: weigh the labels' pictures so that both count the same.
        patience: stop after so many epochs without a lower validation loss and keep the best one's weights.
        threshold: from validation probabilities and labels, (N,), to the threshold of the answer; None for one half.
    """

    architecture: str
    recipe_name: str
    recipe: Recipe
    dataset: Dataset
    seed: int
    epochs: int
    balanced: bool = False
    patience: int | None = None
    threshold: Callable[[Scores, Labels], float] | None = None

    def provenance(self) -> Provenance:
        """What makes this run this run; a checkpoint or model with an equal one continues or is its result."""
        return Provenance(
            dataset=self.dataset.name,
            dataset_sha256=self.dataset.sha256,
            recipe=self.recipe_name,
            epochs=self.epochs,
            seed=self.seed,
            versions={name: version(name) for name in ("oddeven", "keras", "tensorflow")},
        )


@dataclass(frozen=True)
class Record:
    """What `history.json` beside a finished model says; see `Trained`."""

    provenance: Provenance
    history: Mapping[str, tuple[float, ...]]
    test_accuracy: float
    test_loss: float
    threshold: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a history that lacks a measure or an epoch (ValueError)."""
        lengths = {len(self.history.get(name, ())) for name in MEASURES}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"the history must have one value an epoch for each of {', '.join(MEASURES)}.")


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        path: the `.keras` file, its ModelSpec inside.
        history: one value an epoch for `loss`, `accuracy`, `val_loss`, `val_accuracy`, `seconds` (wall) and
            `cpu_seconds` (all cores).
        test_accuracy, test_loss: on the test split.
        threshold: above it the answer is label 1.
    """

    name: str
    path: Path
    history: History
    test_accuracy: float
    test_loss: float
    threshold: float = 0.5

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, validation included."""
        return sum(self.history["seconds"])


def train(plan: Plan, folder: Path, fresh: bool = False) -> Trained:
    """Train as `plan` says into `folder`: `<architecture>.keras`, `history.json` and two pictures.

    A run that was killed goes on behind its last whole epoch; one that is finished is only read again.
    `fresh` starts from nothing in either case.

    Raises:
        UsageError: no architecture has that name.
        ModelError: the record of a finished run is damaged.
        OutputError: a file cannot be written.
    """
    path = folder / f"{plan.architecture}.keras"
    saved, best = folder / ".checkpoint.keras", folder / BEST
    run = plan.provenance()
    if fresh:
        saved.unlink(missing_ok=True)
    elif (finished := _finished(path, run)) is not None:
        _note(f"{plan.architecture}: already trained by this recipe and seed in {folder} (--fresh trains again)")
        return finished
    trained = _finish(plan, *_fit(plan, saved, run), path, run)
    saved.unlink(missing_ok=True)
    best.unlink(missing_ok=True)
    return trained


def _fit(plan: Plan, saved: Path, run: Provenance) -> tuple[Any, History]:
    """The model after the last epoch and its history, from the checkpoint `saved` where it is of this `run`."""
    import keras

    keras.utils.set_random_seed(plan.seed)
    model = compiled(plan)
    history = checkpoint.restore(saved, model, run) or {key: [] for key in MEASURES}
    done = len(history["loss"])
    if done:
        _note(f"{plan.architecture}: resuming behind epoch {done} of {plan.epochs}")
    if _exhausted(plan, history):
        return _best(plan, model, saved.with_name(BEST)), history
    data, recipe = plan.dataset, plan.recipe
    batches = input_pipeline(
        data.train, data.input, recipe.batch_size, recipe.augmentation, plan.seed, range(done, plan.epochs)
    )
    with redirect_stdout(sys.stderr):  # Keras prints its progress to stdout, which is for results
        model.fit(
            batches,
            initial_epoch=done,
            epochs=plan.epochs,
            steps_per_epoch=steps_per_epoch(len(data.train), recipe.batch_size),
            shuffle=False,
            validation_data=in_order(data.validation, data.input, BATCH),
            class_weight=_class_weight(data.train.labels) if plan.balanced else None,
            callbacks=[_bookkeeping(plan, model, history, saved, run)],
            verbose=1 if sys.stderr.isatty() else 2,
        )
    return _best(plan, model, saved.with_name(BEST)), history


def _class_weight(labels: Labels) -> dict[int, float]:
    """For each label, what its pictures count; both labels together the same, and 1 on average."""
    counts = np.bincount(labels, minlength=2)
    return {label: len(labels) / (2 * int(count)) for label, count in enumerate(counts)}


def _exhausted(plan: Plan, history: History) -> bool:
    """Whether patience is at its end."""
    losses = history["val_loss"]
    if plan.patience is None or not losses:
        return False
    return len(losses) - 1 - int(np.argmin(losses)) >= plan.patience


def _best(plan: Plan, model: Any, path: Path) -> Any:
    """`model`, under patience with the weights of its best epoch."""
    if plan.patience:
        model.load_weights(path)
    return model


def compiled(plan: Plan) -> Any:
    """A fresh model with its optimizer; the one-cycle rate spans the whole run."""
    import keras

    recipe = plan.recipe
    model = build(plan.architecture, plan.dataset.input.shape)
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(recipe.peak_learning_rate)
    else:
        steps = plan.epochs * steps_per_epoch(len(plan.dataset.train), recipe.batch_size)
        rise = max(1, int(0.3 * steps))
        cycle = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=recipe.peak_learning_rate / 25,
            warmup_target=recipe.peak_learning_rate,
            warmup_steps=rise,
            decay_steps=max(1, steps - rise),
            alpha=1e-3,
        )
        optimizer = keras.optimizers.AdamW(cycle, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    # XLA on a CPU makes these convolutions up to five times slower.
    model.compile(optimizer, loss="binary_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def _bookkeeping(plan: Plan, model: Any, history: History, saved: Path, run: Provenance) -> Any:
    """A callback that makes each epoch's dropout follow from (seed, epoch), times it, and saves the state."""
    import keras

    started = [0.0, 0.0]

    def begin(epoch: int, logs: object = None) -> None:
        for number, layer in enumerate(model.layers):
            if hasattr(layer, "seed_generator"):
                layer.seed_generator.state.assign([plan.seed * 1000 + number, epoch << 20])
        started[:] = time.perf_counter(), time.process_time()

    def end(epoch: int, logs: dict[str, float]) -> None:
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        measures = {**logs, "seconds": wall, "cpu_seconds": cpu}
        for key, values in history.items():
            values.append(float(measures[key]))
        # In this order: a run that is killed in between repeats the epoch and writes the same weights again.
        if plan.patience and int(np.argmin(history["val_loss"])) == epoch:
            with replacing(saved.with_name(BEST)) as partial:
                model.save_weights(partial)
        checkpoint.save(saved, model, history, run)
        model.stop_training = _exhausted(plan, history)

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)


def _finish(plan: Plan, model: Any, history: History, path: Path, run: Provenance) -> Trained:
    """Judge the final model on the test split, once, and save it without its optimizer."""
    import keras

    data = plan.dataset
    known, probabilities = (
        model.predict(in_order(split, data.input, BATCH), verbose=0)[:, 0] for split in (data.validation, data.test)
    )
    threshold = plan.threshold(known, data.validation.labels) if plan.threshold else 0.5
    labels = data.test.labels
    loss = float(keras.losses.BinaryCrossentropy()(labels[:, None], probabilities[:, None]))
    accuracy = float(np.mean((probabilities > threshold) == labels))
    trained = Trained(plan.architecture, path, history, accuracy, loss, threshold)
    plots.curves(history, plan.architecture, path.with_name("curves.png"))
    plots.predictions(data, probabilities, threshold, path.with_name("predictions.png"))
    plots.mistakes(data, probabilities, threshold, path.with_name("mistakes.png"))
    plots.evaluation(data, probabilities, threshold, path.with_name("evaluation.png"))
    _save_model(model, ModelSpec(plan.architecture, data.labels, data.input, run, threshold), path)
    record = Record(run, {name: tuple(values) for name, values in history.items()}, accuracy, loss, threshold)
    write(path.with_name("history.json"), to_json(record))
    return trained


def _save_model(model: Any, spec: ModelSpec, path: Path) -> None:
    """Write the network and its weights, without the optimizer, and `spec` inside."""
    bare = build(spec.name, spec.input.shape)
    bare.set_weights(model.get_weights())
    with replacing(path) as partial:
        bare.save(partial)
        attach_to_keras(partial, spec)


def _finished(path: Path, run: Provenance) -> Trained | None:
    """The result of an earlier, equal run, or None."""
    record_path = path.with_name("history.json")
    if not (path.exists() and record_path.exists()):
        return None
    record = from_json(Record, record_path.read_bytes(), str(record_path))
    if record.provenance != run:
        return None
    history = {name: list(values) for name, values in record.history.items()}
    return Trained(path.stem, path, history, record.test_accuracy, record.test_loss, record.threshold)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
