"""Familiarity as it is fitted: made-up images, the second output, what its scores mean, and the temperature."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import SHIPPED
from PIL import Image

from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.errors import ModelError
from oddeven.runtime.familiarity import familiarities
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.parity.metrics import auc
from oddeven.runtime.spec import InputSpec
from oddeven.train import familiarity, lite0
from oddeven.train.architectures import build
from oddeven.train.data.dataset import Split
from oddeven.train.data.registry import load_dataset
from oddeven.train.familiarity import MIN_FAMILIARITY, calibrate, load_without_familiarity, meaning, with_familiarity
from oddeven.train.outliers import MAKERS, make_up, restyled
from oddeven.train.refit import refit
from oddeven.train.things import load_things, resembling

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def few():
    data = load_dataset("mnist")
    return dataclasses.replace(data, train=data.train.take(slice(1000)), validation=data.validation.take(slice(500)))


@pytest.fixture
def small(few):
    """An mlp that has seen 1,000 images for an epoch."""
    keras.utils.set_random_seed(0)
    model = build("mlp", few.input.shape)
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    model.fit(to_float(few.train.images, few.input), few.train.labels, epochs=1, verbose=0)
    return model


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (33, 20, 3)])
def test_a_made_up_image_has_the_shape_of_its_sources(maker, shape):
    random = np.random.default_rng(0)
    a, b = random.integers(0, 256, (2, *shape)).astype(np.uint8)
    made = np.asarray(maker(a, b, random))
    assert made.shape == shape
    assert np.isfinite(made).all()
    assert not np.array_equal(made, a)


def test_equal_seeds_make_up_equal_images(few):
    first, second = (make_up(few.train.images, 50, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first.dtype, first.shape) == (np.uint8, (50, 28, 28, 1))


def test_the_second_output_ranks_noise_below_digits_and_leaves_the_first_alone(few, small):
    x = to_float(few.test.images[:500], few.input)
    before = small.predict(x, verbose=0)
    model, known = with_familiarity(small, few, 0)
    p, raw = model.predict(x, verbose=0)
    np.testing.assert_array_equal(p, before)
    noise = np.random.default_rng(0).random(x.shape, np.float32)
    scores = np.concatenate([raw, model.predict(noise, verbose=0)[1]])[:, 0]
    assert auc(scores, np.repeat([1, 0], 500).astype(np.uint8)) > 0.99
    refused = np.mean(familiarities(raw[:, 0], known) < MIN_FAMILIARITY)
    assert refused < 0.05  # 0.01 is meant; of 500 validation images five are below, give or take
    assert sum(w.size for w in model.get_weights()) <= 1.05 * sum(w.size for w in small.get_weights())
    again, same = with_familiarity(model, few, 0)
    assert (len(again.outputs), same) == (2, known)


def test_images_of_neither_label_that_are_shown_are_told_from_known_ones(few, small):
    shown, others = few.train.images[:300, :, ::-1], few.test.images[:500, :, ::-1]  # mirrored; none is made up
    areas = []
    for unknown in (None, shown):
        model, _ = with_familiarity(small, few, 0, unknown)
        images = np.concatenate([few.test.images[500:1000], others])
        raw = model.predict(to_float(images, few.input), verbose=0)[1][:, 0]
        areas.append(auc(raw, np.repeat([1, 0], 500).astype(np.uint8)))
    assert areas[1] > areas[0] + 0.1


def test_an_image_in_another_style_has_its_shape_and_other_colours():
    images = next(iter(load_things(InputSpec(40, 60, 3))))[1][:20]
    first, second = (restyled(images, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first.dtype, first.shape) == (np.uint8, images.shape)
    assert all(not np.array_equal(a, b) for a, b in zip(images, first, strict=True))


def test_there_are_things_of_many_kinds_and_none_is_blank():
    things = dict(load_things(InputSpec(32, 48, 3)))
    assert len(things) > 10
    assert sum(map(len, things.values())) > 1500
    for images in things.values():
        assert images.shape[1:] == (32, 48, 3)
        assert (np.ptp(images, axis=(1, 2, 3)) > 0).all()


def test_kinds_that_resemble_the_known_images_are_left_out():
    random = np.random.default_rng(0)
    centre = random.normal(size=(6, 1, 40))
    kinds = dict(zip("abcdef", centre + 0.5 * random.normal(size=(6, 200, 40)), strict=True))
    known = np.concatenate([centre[place] + 0.5 * random.normal(size=(100, 40)) for place in (0, 4)])
    assert resembling(known, kinds) == ["a", "e"]


@pytest.mark.slow
def test_clip_art_of_some_kinds_makes_other_kinds_unfamiliar(few, monkeypatch):
    keras.utils.set_random_seed(0)
    spec = InputSpec(96, 96, 3, low=lite0.LOW)
    model = build("lite0", spec.shape)
    lite0.load_weights(model)
    things = {kind: images[:90] for kind, images in load_things(spec)}
    images, others = (np.concatenate([things.pop(kind) for kind in kinds])
                      for kinds in (("animals", "food"), ("people", "recreation", "tools")))  # fmt: skip
    ends = (range(0, 60), range(60, 75), range(75, 90))
    train, validation, test = (
        Split(images[[*part, *(90 + n for n in part)]], np.repeat([0, 1], len(part)).astype(np.uint8),
              np.full(2 * len(part), ""), np.arange(2 * len(part)))
        for part in ends
    )  # fmt: skip
    data = dataclasses.replace(few, input=spec, train=train, validation=validation, test=test)
    asked = to_float(np.concatenate([test.images, others]), spec)
    areas = []
    for shown in ({}, things):
        monkeypatch.setattr(familiarity, "load_things", lambda _, shown=shown: iter(shown.items()))
        raw = with_familiarity(model, data, 0)[0].predict(asked, verbose=0)[1][:, 0]
        areas.append(auc(raw, np.repeat([1, 0], [len(test), len(others)]).astype(np.uint8)))
    assert areas[1] > areas[0] + 0.05


def test_refit_shows_a_trained_model_what_it_must_not_know(tmp_path, monkeypatch, few):
    monkeypatch.setattr(familiarity, "KNOWN", 500)
    (tmp_path / "letters").mkdir()
    for number, image in enumerate(few.train.images[:3, ..., 0]):
        Image.fromarray(image.T).save(tmp_path / "letters" / f"{number}.png")
    path = tmp_path / "mlp.keras"
    shutil.copy(SHIPPED / "mlp.keras", path)
    refit(path)
    before = load_keras_model(path)[0].get_weights()
    refit(path, tmp_path / "letters")
    after = load_keras_model(path)[0].get_weights()
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 6 + [False] * 2 + same[8:]


def test_refit_and_who_starts_from_a_model_refuse_another_file_and_a_damaged_one(tmp_path):
    with pytest.raises(ModelError, match=r"mlp\.int8\.tflite is no \.keras model that carries a ModelSpec"):
        refit(bundled()["mlp"])
    damaged = bytearray((SHIPPED / "mlp.keras").read_bytes())
    damaged[len(damaged) // 2] ^= 255  # within the weights
    (tmp_path / "mlp.keras").write_bytes(damaged)
    for read in (refit, load_without_familiarity):  # the second also for --teacher and --weights
        with pytest.raises(ModelError, match=r"mlp\.keras is damaged: Keras cannot read it \(BadZipFile\)"):
            read(tmp_path / "mlp.keras")
    command = [sys.executable, "-m", "oddeven.train.refit", tmp_path / "mlp.keras"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SHIPPED.parents[1], check=False)
    assert done.returncode == 4
    assert re.fullmatch(r"importing TensorFlow \.\.\.\nrefit: .* is damaged: .*\n", done.stderr)  # none of TensorFlow's


def test_a_model_that_sees_nothing_finds_nothing_unknown(few):
    model = build("mlp", few.input.shape)
    model.set_weights([0 * weight for weight in model.get_weights()])
    whole, known = with_familiarity(model, few, 0)
    raw = whole.predict(to_float(few.test.images[:20], few.input), verbose=0)[1][:, 0]
    assert np.isfinite(familiarities(raw, known)).all()


def test_scores_mean_the_share_of_validation_images_below():
    raw = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    known = familiarities(raw, meaning(raw))
    for share in (0.01, 0.1, 0.5, 0.9):
        assert np.mean(known < share) == pytest.approx(share, abs=1 / 5000)


@pytest.mark.parametrize("scores", [[3.0], [2.0, 2.0, 2.0], [1.0, 2.0]])
def test_few_scores_have_a_meaning(scores):
    known = familiarities(np.array([-100, 100]), meaning(np.array(scores, np.float32)))
    assert (known >= 0).all()
    assert known[1] == 1


def test_the_temperature_undoes_too_much_confidence_and_changes_no_prediction(few, small):
    x = to_float(few.test.images, few.input)
    first = calibrate(small, few)
    calm = small.predict(x, verbose=0)
    kernel, bias = small.layers[-1].get_weights()
    small.layers[-1].set_weights([4 * kernel, 4 * bias])
    assert calibrate(small, few) == pytest.approx(4, rel=0.01)
    np.testing.assert_allclose(small.predict(x, verbose=0), calm, atol=0.01)
    assert 0.2 < first < 5


@pytest.mark.parametrize("name", ["mlp", "cnn", "deep_cnn"])
def test_the_shipped_models_refuse_few_digits_and_most_of_everything_else(name):
    model, spec = load_keras_model(SHIPPED / f"{name}.keras")
    data, random = load_dataset("mnist"), np.random.default_rng(0)

    def refused(images):
        raw = model.predict(to_float(images, spec.input), batch_size=500, verbose=0)[1][:, 0]
        return np.mean(familiarities(raw, spec.familiarity) < spec.min_familiarity)

    assert refused(data.test.images[:2000]) < 0.025  # 1 % is meant, and 1.5 % of all 10,000 allowed
    assert refused(random.integers(0, 256, (300, 28, 28, 1)).astype(np.uint8)) > 0.99
    y, x = np.mgrid[:28, :28]
    turns, waves = random.uniform(0, np.pi, (300, 1, 1)), random.uniform(0.3, 2.5, (300, 1, 1))
    stripes = 127.5 + 127.5 * np.sin((np.cos(turns) * x + np.sin(turns) * y) * waves)
    assert refused(stripes.astype(np.uint8)[..., None]) > 0.95  # 99 % of deep_cnn's; docs/unknown.md
