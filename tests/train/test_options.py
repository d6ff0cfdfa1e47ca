"""What `oddeven train` makes of its options, and what it refuses."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields, replace

import click
import numpy as np
import pytest
from conftest import SHIPPED
from train import photographs

from oddeven.runtime.errors import DataError, UsageError
from oddeven.runtime.files import sha256
from oddeven.runtime.parity.thresholds import by_cost, by_f1
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import Dataset, ImageSource, Split, fingerprint
from oddeven.train.data.registry import load_dataset
from oddeven.train.options import TrainOptions
from oddeven.train.outliers import load_unknown
from oddeven.train.recipes import LIGHT, RECIPES, WIDE, scaled
from oddeven.train.train_command import command


def given(*arguments):
    """The options that a command line gives."""
    values = command.make_context("train", [str(argument) for argument in arguments]).params
    return TrainOptions(**{field.name: values[field.name] for field in fields(TrainOptions)})


def plan(*arguments, count=1000):
    """The plan of the cnn on `count` images."""
    images = np.broadcast_to(np.zeros((64, 64, 3), np.uint8), (count, 64, 64, 3))
    split = Split(images, np.zeros(count, np.uint8), np.zeros(count, np.str_), np.arange(count))
    data = Dataset("parts", "", ("bad", "good"), InputSpec(64, 64, 3), split, split, split)
    (only,) = given(*arguments).plans(["cnn"], data)
    return only


def test_a_folder_needs_no_more_than_its_path(tmp_path):
    assert given("--data", tmp_path).source() == ImageSource(str(tmp_path), InputSpec(64, 64, 3))
    assert given().source() is None


def test_every_option_arrives(tmp_path):
    arguments = (
        "--data", tmp_path, "--positive", "good", "--channels", 1, "--image-size", "48x64", "--fit", "fit-longest",
        "--max-bad", 3, "--split-seed", 5, "--augment", "none", "--no-balance", "--patience", 4, "--epochs", 9,
        "--threshold-by", "cost", "--cost", "fp=1,fn=5", "--seed", 7,
    )  # fmt: skip
    wanted = InputSpec(48, 64, 1, preprocessing="fit-longest")
    assert given(*arguments).source() == ImageSource(str(tmp_path), wanted, "good", 3, 5)
    made = plan(*arguments)
    assert made.recipe_name == "fast (augment none, batch 16, patience 4, threshold by cost fp=1,fn=5)"
    assert (made.seed, made.epochs, made.patience, made.balanced) == (7, 9, 4, False)
    assert made.recipe == replace(scaled(RECIPES["fast"], 1000), augmentation=None)


def test_an_image_folder_and_a_named_dataset_have_their_own_defaults(tmp_path):
    assert plan().recipe_name == "fast"
    assert plan("--quick").recipe_name == "fast (quick)"
    assert (plan("--quick").epochs, len(plan("--quick", count=9000).dataset.train)) == (1, 2000)
    assert plan("--data", tmp_path).recipe_name == "fast (augment photo, batch 16, balanced)"
    assert plan("--data", tmp_path, "--recipe", "classic").recipe.augmentation is None
    assert not plan("--data", tmp_path, "--no-balance").balanced


def test_images_of_neither_label_are_named_in_the_recipe(tmp_path):
    photographs.write(tmp_path / "others", (3, 2), ("belt", "hand"))
    made = plan("--unknown", tmp_path / "others")
    assert made.unknown.shape == (5, 64, 64, 3)
    assert made.recipe_name == f"fast (unknown {fingerprint(made.unknown)[:12]})"
    photographs.write(tmp_path / "labelled", (1, 1), ("bad", "good"))
    with pytest.raises(UsageError, match="has the folders bad and good; expected images of neither"):
        plan("--unknown", tmp_path / "labelled")
    with pytest.raises(DataError, match="is not a folder; give one with images of neither label"):
        plan("--unknown", tmp_path / "none")


def test_unusable_images_of_neither_label_are_allowed_where_a_command_can_say_so(tmp_path):
    others = tmp_path / "others"
    photographs.write(others, (3, 0), ("belt", "hand"))
    (others / "belt" / "broken.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 images of .* cannot be used; --max-bad allows 0\."):
        plan("--unknown", others)
    assert len(plan("--unknown", others, "--max-bad", 1).unknown) == 3
    with pytest.raises(DataError, match=r"1 images of .* cannot be used\.\n"):  # as of refit, which has no such option
        load_unknown(others, plan().dataset)
    with pytest.raises(UsageError, match="--split-seed is about images of your own"):  # and --max-bad is not refused
        command.main(["--unknown", str(others), "--max-bad=1", "--split-seed=1"], standalone_mode=False)


def test_subclasses_are_named_in_the_recipe_and_refused_where_there_are_none():
    data = load_dataset("mnist")
    (mnist,) = given("--subclasses", "--quick").plans(["cnn"], data)
    assert re.fullmatch(r"fast \(10 subclasses [0-9a-f]{12}, quick\)", mnist.recipe_name)
    assert len(mnist.subclasses.names) == 10
    moved = np.where(data.train.slices == "1", "3", np.where(data.train.slices == "3", "1", data.train.slices))
    (other,) = given("--subclasses", "--quick").plans(["cnn"], replace(data, train=replace(data.train, slices=moved)))
    assert len(other.subclasses.names) == 10
    assert other.recipe_name != mnist.recipe_name
    with pytest.raises(UsageError, match="--subclasses needs slices with images of one label each"):
        plan("--subclasses")


def test_stroke_is_light_or_what_the_recipe_has():
    own = [name for name, recipe in RECIPES.items() if not recipe.transfer]
    recipes = {name: plan("--augment", "stroke", "--recipe", name).recipe for name in own}
    assert {name: recipe.augmentation for name, recipe in recipes.items()} == {
        "classic": LIGHT, "fast": LIGHT, "best": WIDE
    }  # fmt: skip


def test_the_threshold_is_chosen_as_asked_for():
    random = np.random.default_rng(0)
    labels = (random.random(500) < 0.3).astype(np.uint8)
    p = np.clip(random.normal(0.35 + 0.3 * labels, 0.15), 0, 1).astype(np.float32)
    assert given().threshold_rule() is None
    assert given("--threshold-by", "accuracy").threshold_rule()(p, labels) == by_cost(p, labels, 1, 1)
    assert given("--threshold-by", "f1").threshold_rule()(p, labels) == by_f1(p, labels)
    chosen = given("--threshold-by", "cost", "--cost", "fp=1,fn=5").threshold_rule()(p, labels)
    assert chosen == by_cost(p, labels, 1, 5) < by_cost(p, labels, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", ".", "--dataset", "mnist"], "leave out --dataset"),
        (["--data", ".", "--image-size", "0"], "is not a size"),
        (["--data", ".", "--image-size", "64x"], "is not a size"),
        (["--data", ".", "--image-size", "64x0"], "is not a size"),
        (["--threshold-by", "cost"], "go together"),
        (["--cost", "1:2"], "go together"),
        (["--threshold-by", "cost", "--cost", "5"], "is no"),
        (["--threshold-by", "cost", "--cost", "1:0"], "is no"),
        (["--threshold-by", "cost", "--cost", f"fp=1{400 * '0'},fn=1"], "is no"),
        (["--threshold-by", "cost", "--cost", "1.2.3:4"], "is no"),
        (["--quick", "--epochs", "3"], "leave out --epochs"),
        (["--recipe", "transfer"], "cnn has no pretrained weights; take lite0"),
        (["--weights", "file.h5"], "file.h5 carries no ModelSpec; expected a model that oddeven trained for"),
    ],
)
def test_options_that_cannot_be(arguments, says):
    def use():
        given(*arguments).source()
        plan(*arguments)

    with pytest.raises(UsageError, match=says):
        use()


def test_what_a_trained_model_gives_is_named_in_the_recipe(tmp_path):
    teacher, data = SHIPPED / "mlp.keras", load_dataset("mnist")
    (made,) = given("--teacher", teacher, "--weights", SHIPPED / "cnn.keras").plans(["cnn"], data)
    digest, own = (sha256((SHIPPED / f"{name}.keras").read_bytes())[:12] for name in ("mlp", "cnn"))
    assert made.recipe_name == f"fast (weights cnn.keras {own}, teacher mlp.keras {digest})"
    moved = shutil.copy(teacher, tmp_path / "mlp.keras")
    (same,) = given("--teacher", moved, "--weights", SHIPPED / "cnn.keras").plans(["cnn"], data)
    assert same.recipe_name == made.recipe_name
    shutil.copy(SHIPPED / "deep_cnn.keras", moved)  # as one that was trained again
    (other,) = given("--teacher", moved, "--weights", SHIPPED / "cnn.keras").plans(["cnn"], data)
    assert other.recipe_name != made.recipe_name
    assert (made.teacher, made.weights) == (teacher, SHIPPED / "cnn.keras")
    with pytest.raises(UsageError, match=r"mlp.keras holds the weights of mlp; expected those of a trained cnn"):
        given("--weights", teacher).plans(["cnn"], data)
    large = replace(data, input=InputSpec(96, 96, 1))
    with pytest.raises(UsageError, match=r"mlp.keras is a whole model; lite0 starts from a file of pretrained weights"):
        given("--weights", teacher).plans(["lite0"], large)


def test_more_epochs_than_a_rate_can_span_are_refused():
    with pytest.raises(click.BadParameter, match="1<=x<=1000000"):
        given("--epochs", 10**20)


@pytest.mark.parametrize("option", ["--positive=good", "--image-size=64", "--max-bad=0"])
def test_an_option_for_own_images_without_them_is_refused(option):
    with pytest.raises(UsageError, match=rf"{option.split('=')[0]} is about images of your own; add --data PATH"):
        command.main([option, "--out", "absent"], standalone_mode=False)


def test_help_shows_eight_options():
    shown = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert len(shown) <= 8


def test_a_dry_run_gives_no_json():
    with pytest.raises(UsageError, match="--dry-run prints a table; leave out --json"):
        command.main(["cnn", "--dry-run", "--json"], standalone_mode=False)
