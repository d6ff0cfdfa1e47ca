"""Learning from a trained model: its predictions in the loss, and its weights to start from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import SHIPPED

from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.images.preprocess import to_float
from oddeven.train.data.registry import load_dataset
from oddeven.train.familiarity import load_without_familiarity
from oddeven.train.fit import Plan, compiled
from oddeven.train.recipes import RECIPES
from oddeven.train.teacher import TEMPERATURE, trained_spec

TEACHER = SHIPPED / "mlp.keras"

# TensorFlow's variables lack the copy argument that NumPy 2 asks for when Keras saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def few():
    data = load_dataset("mnist")
    return replace(data, train=data.train.take(slice(64)), validation=data.validation.take(slice(64)))


def plan(data, **options):
    return Plan("mlp", "fast", RECIPES["fast"], data, 0, 1, **options)


def cross_entropy(target, p):
    return -np.mean(target * np.log(p) + (1 - target) * np.log1p(-p))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_half_of_the_loss_is_that_of_the_teacher_in_training_alone(few, low, high):
    data = replace(few, input=replace(few.input, low=low, high=high))
    _, model = compiled(plan(data, teacher=TEACHER))
    x, labels = to_float(few.train.images, data.input), few.train.labels[:, None].astype(np.float32)
    p = np.linspace(0.1, 0.9, len(x), dtype=np.float32)[:, None]

    taught = load_without_familiarity(TEACHER).predict(to_float(few.train.images, few.input), verbose=0)
    taught, learnt = (np.clip(np.float64(values), 1e-7, 1 - 1e-7) for values in (taught, p))
    soft = [1 / (1 + (values / (1 - values)) ** (-1 / TEMPERATURE)) for values in (taught, learnt)]
    of_labels, of_teacher = cross_entropy(labels, learnt), TEMPERATURE**2 * cross_entropy(*soft)
    # float32 holds a probability near 1 to 6e-8, which moves the logit of one clipped at 1e-7 by less than one.
    assert float(model.compute_loss(x, labels, p)) == pytest.approx((of_labels + of_teacher) / 2, rel=1e-3)
    assert float(model.compute_loss(x, labels, p, training=False)) == pytest.approx(of_labels, rel=1e-5)


def test_a_student_learns_and_its_checkpoint_needs_no_teacher(few, tmp_path):
    import keras

    taught = plan(few, teacher=TEACHER)
    _, model = compiled(taught)
    before = model.get_weights()
    model.fit(taught.batches(range(1)), steps_per_epoch=taught.steps, shuffle=False, verbose=0)
    assert any((new != old).any() for new, old in zip(model.get_weights(), before, strict=True))
    model.save(tmp_path / "student.keras")
    for saved, own in zip(
        keras.saving.load_model(tmp_path / "student.keras").get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(saved, own)


def test_training_starts_from_the_weights_of_a_trained_model(few):
    theirs = load_without_familiarity(TEACHER).get_weights()
    for own, other in zip(compiled(plan(few, weights=TEACHER))[0].get_weights(), theirs, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_model_for_other_images_teaches_nothing(few, tmp_path):
    for data in (replace(few, labels=("bad", "good")), replace(few, input=replace(few.input, height=32))):
        with pytest.raises(
            UsageError, match=r"mlp.keras is for \(28, 28, 1\) images of even and odd; expected a model"
        ):
            trained_spec(TEACHER, data)
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(UsageError, match=r"model.tflite carries no ModelSpec; expected a model that oddeven trained"):
        trained_spec(tmp_path / "model.tflite", few)
    with pytest.raises(ModelError, match=r"There is no model file .*absent.keras"):
        trained_spec(tmp_path / "absent.keras", few)
