"""Stopping early: at the epoch that patience says, with the best epoch's weights, and the same after a kill."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oddeven.runtime.parity.thresholds import by_f1
from oddeven.train import fit
from oddeven.train.data.registry import load_dataset
from oddeven.train.fit import Plan, train
from oddeven.train.recipes import RECIPES

# Keras hands its variables to NumPy 2 by an older protocol when it saves weights.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]


@pytest.fixture(scope="module")
def plan():
    """Few images with labels at random: the validation loss soon rises for good."""
    whole = load_dataset("mnist")
    labels = np.random.default_rng(0).integers(0, 2, 400).astype(np.uint8)
    few = dataclasses.replace(
        whole,
        train=dataclasses.replace(whole.train.take(slice(0, 400)), labels=labels),
        validation=whole.validation.take(slice(0, 100)),
        test=whole.test.take(slice(0, 100)),
    )
    recipe = dataclasses.replace(RECIPES["fast"], batch_size=32, augmentation=None, peak_learning_rate=2e-3)
    return Plan("mlp", "test", recipe, few, 1, 30, balanced=True, patience=3, threshold=by_f1)


@pytest.fixture(scope="module", autouse=True)
def uncalibrated():
    """So that the saved model has the validation loss that was measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "calibrate", lambda model, data: 1.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stopped")


@pytest.fixture(scope="module")
def stopped(plan, folder):
    return train(plan, folder)


def test_it_stops_and_keeps_the_best_epoch(plan, stopped, folder):
    import keras

    losses = stopped.history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < plan.epochs
    x = plan.dataset.validation.images / np.float32(255)
    p = keras.saving.load_model(folder / "mlp.keras").predict(x, verbose=0)[0][:, 0]
    truth = plan.dataset.validation.labels
    # The same mean in another order of float32 sums.
    assert -np.log(np.where(truth, p, 1 - p)).mean() == pytest.approx(losses[best], rel=1e-4)
    assert stopped.threshold == pytest.approx(by_f1(p, truth), abs=1e-4)
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png", "evaluation.png", "history.json", "mistakes.png", "mlp.keras", "predictions.png"
    ]  # fmt: skip


@pytest.mark.parametrize("killed_at", ["best saved", "last epoch saved"])
def test_a_run_that_was_killed_ends_alike(plan, stopped, tmp_path, monkeypatch, killed_at):
    class Killed(BaseException):
        pass

    def dying_save(path, model, history, run):
        if killed_at == "best saved" and len(history["loss"]) == 2:
            raise Killed
        save(path, model, history, run)
        if len(history["loss"]) == len(stopped.history["loss"]):
            raise Killed

    save = fit.save_checkpoint
    monkeypatch.setattr(fit, "save_checkpoint", dying_save)
    with pytest.raises(Killed):
        train(plan, tmp_path)
    monkeypatch.setattr(fit, "save_checkpoint", save)
    again = train(plan, tmp_path)
    assert again.history["val_loss"] == stopped.history["val_loss"]
    assert (again.test_loss, again.threshold) == (stopped.test_loss, stopped.threshold)


def test_weights_make_both_labels_count_the_same(plan):
    images, labels, weights = next(iter(plan.batches(range(1)).unbatch().batch(400)))
    assert images.shape == (400, 28, 28, 1)
    weights = np.asarray(weights)
    assert weights[np.asarray(labels)[:, 0] == 1].sum() == pytest.approx(200)
    assert weights.sum() == pytest.approx(400)
