"""Learning to tell the slices of a label apart, besides the label."""

import dataclasses

import numpy as np
import pytest

from oddeven.train import fit
from oddeven.train.data.registry import load_dataset
from oddeven.train.fit import Plan, compiled, train
from oddeven.train.recipes import RECIPES
from oddeven.train.subclasses import find_subclasses

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
RECIPE = dataclasses.replace(RECIPES["fast"], batch_size=50)


@pytest.fixture(scope="module")
def few():
    whole = load_dataset("mnist")
    return dataclasses.replace(
        whole, **{name: getattr(whole, name).take(slice(0, 300)) for name in ("train", "validation", "test")}
    )


def sliced(data, slices):
    return dataclasses.replace(data, train=dataclasses.replace(data.train, slices=np.array(slices)))


def test_slices_of_one_label_are_subclasses(few):
    found = find_subclasses(few)
    assert found.names.tolist() == [str(digit) for digit in range(10)]
    assert found.labels.tolist() == [0, 1] * 5
    assert (found.names[found.number(few.test).labels] == few.test.slices).all()


def test_slices_that_say_nothing_about_the_label_or_nothing_else_are_not(few):
    labels = [few.labels[label] for label in few.train.labels]
    cameras = np.resize(["left", "right"], 300)
    assert find_subclasses(sliced(few, cameras)) is None
    assert find_subclasses(dataclasses.replace(sliced(few, labels), validation=few.validation.take(slice(0)))) is None


def test_the_network_is_trained_by_both_and_kept_without_the_second_output(few):
    plan = Plan("mlp", "test", RECIPE, few, 0, 1, balanced=True, subclasses=find_subclasses(few))
    network, model = compiled(plan)
    images, targets, weights = next(iter(plan.batches(range(1))))
    numbers = np.asarray(targets["subclass"])[:, 0].astype(int)
    np.testing.assert_array_equal(np.asarray(targets["probability"])[:, 0], numbers % 2)
    p, kinds = (np.asarray(model(images)[name]) for name in ("probability", "subclass"))
    np.testing.assert_array_equal(p, network(images))
    right = np.where(numbers % 2, p[:, 0], 1 - p[:, 0])
    each = -np.log(right) - np.log(kinds[np.arange(len(kinds)), numbers])
    assert float(model.compute_loss(images, targets, model(images), weights)) == pytest.approx(
        np.mean(each * np.asarray(weights)), rel=1e-4
    )
    assert [weight.path for weight in network.weights] == [w.path for w in model.weights if "subclass" not in w.path]


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_been(few, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dying(path, model, history, run):
        save(path, model, history, run)
        if len(history["loss"]) == 1:
            raise Killed

    save, plan = fit.save_checkpoint, Plan("mlp", "test", RECIPE, few, 0, 2, subclasses=find_subclasses(few))
    whole = train(plan, tmp_path / "whole")
    monkeypatch.setattr(fit, "save_checkpoint", dying)
    with pytest.raises(Killed):
        train(plan, tmp_path / "stopped")
    monkeypatch.undo()
    again = train(plan, tmp_path / "stopped")
    assert again.history["val_loss"] == whole.history["val_loss"]
    assert again.test_loss == whole.test_loss
