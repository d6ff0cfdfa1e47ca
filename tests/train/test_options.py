"""What `oddeven train` makes of its options for picture sets, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from oddeven.runtime.errors import UsageError
from oddeven.runtime.parity.thresholds import by_cost, by_f1
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import ImageSource
from oddeven.train.options import PICTURES, TRAINING, read
from oddeven.train.recipes import RECIPES, scaled

NOTHING = {name.split("/")[0].strip("-").replace("-", "_"): None for name in (*PICTURES, *TRAINING)}


def given(**values):
    return read(NOTHING | values)


def test_a_set_needs_no_more_than_its_place(tmp_path):
    source, _ = given(data=tmp_path)
    assert source == ImageSource(str(tmp_path), InputSpec(64, 64, 3))


def test_every_option_arrives(tmp_path):
    source, choices = given(
        data=tmp_path, positive="good", channels="1", image_size="48x64", fit="fit-longest", max_bad=3, split_seed=5,
        augment="none", balance=False, patience=4, threshold_by="cost", cost="fp=1,fn=5",
    )  # fmt: skip
    assert source == ImageSource(str(tmp_path), InputSpec(48, 64, 1, preprocessing="fit-longest"), "good", 3, 5)
    recipe = RECIPES["fast"]
    assert choices.described(recipe, recipe, False) == " (augment none, patience 4, threshold by cost fp=1,fn=5)"


def test_pictures_and_mnist_have_their_own_defaults():
    _, choices = given()
    fast, classic = RECIPES["fast"], RECIPES["classic"]
    assert choices.described(fast, fast, False) == ""
    assert choices.described(fast, fast, True) == " (quick)"
    said = choices.for_pictures(fast).described(scaled(fast, 1000), fast, False)
    assert said == " (augment photo, batch 16, balanced)"
    assert choices.for_pictures(classic).augment == "none"
    assert given(balance=False)[1].for_pictures(fast).balance is False


def test_the_threshold_is_chosen_as_asked_for():
    random = np.random.default_rng(0)
    labels = (random.random(500) < 0.3).astype(np.uint8)
    p = np.clip(random.normal(0.35 + 0.3 * labels, 0.15), 0, 1).astype(np.float32)
    assert given()[1].threshold() is None
    assert given(threshold_by="accuracy")[1].threshold()(p, labels) == by_cost(p, labels, 1, 1)
    assert given(threshold_by="f1")[1].threshold()(p, labels) == by_f1(p, labels)
    chosen = given(threshold_by="cost", cost="fp=1,fn=5")[1].threshold()(p, labels)
    assert chosen == by_cost(p, labels, 1, 5) < by_cost(p, labels, 1, 1)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"positive": "good"}, "say where it lies with --data"),
        ({"image_size": "64"}, "say where it lies with --data"),
        ({"data": True, "image_size": "0"}, "is no size"),
        ({"data": True, "image_size": "64x"}, "is no size"),
        ({"data": True, "image_size": "64x0"}, "is no size"),
        ({"threshold_by": "cost"}, "go together"),
        ({"cost": "1:2"}, "go together"),
        ({"threshold_by": "cost", "cost": "5"}, "is no cost"),
        ({"threshold_by": "cost", "cost": "1:0"}, "is no cost"),
        ({"threshold_by": "cost", "cost": "1.2.3:4"}, "is no cost"),
    ],
)
def test_options_that_cannot_be(tmp_path, values, says):
    if "data" in values:
        values = values | {"data": tmp_path}
    with pytest.raises(UsageError, match=says):
        given(**values)
