"""The Python API on the bundled models."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from oddeven.runtime.catalogue import DEFAULT_MODEL, bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.errors import DataError, ModelError, UsageError


@pytest.fixture(scope="module")
def classifier():
    with Classifier.load() as opened:
        yield opened


def test_three_int8_models_are_bundled_and_small():
    assert set(bundled()) == {"mlp", "cnn", "deep_cnn"}
    assert sum(path.stat().st_size for path in bundled().values()) < 1_100_000
    with Classifier.load() as classifier:
        assert (classifier.spec.name, classifier.spec.precision) == (DEFAULT_MODEL, "int8")


@pytest.mark.parametrize(("name", "least"), [("mlp", 0.9935), ("cnn", 0.996), ("deep_cnn", 0.997)])
def test_the_bundled_models_are_as_accurate_as_they_were_shipped(name, least, raw):
    with Classifier.load(name) as classifier:
        answers = classifier.probabilities(raw["x_test"][..., None]) > 0.5
    assert np.mean(answers == raw["y_test"] % 2) >= least


def test_path_bytes_and_pixels_give_the_same_answer(classifier, raw, tmp_path):
    path = tmp_path / "seven.png"
    Image.fromarray(raw["x_test"][0]).save(path)
    answers = [classifier.predict(p) for p in (path, str(path), path.read_bytes(), raw["x_test"][0])]
    assert answers.count(answers[0]) == 4
    assert (answers[0].label, answers[0].probability) == ("odd", pytest.approx(1.0, abs=0.01))
    assert sum(answers[0].scores.values()) == pytest.approx(1.0)
    assert set(answers[0].scores) == {"even", "odd"}


def test_a_batch_comes_in_order_and_lazily(classifier, raw):
    asked = []

    def pictures():
        for number, image in enumerate(raw["x_test"][:600]):
            asked.append(number)
            yield image

    answers = classifier.predict_batch(pictures())
    first = next(answers)
    assert len(asked) < 600
    rest = list(answers)
    assert [first.label, *(answer.label for answer in rest)] == [
        classifier.predict(image).label for image in raw["x_test"][:600]
    ]


def test_no_pictures_are_no_answers(classifier):
    assert list(classifier.predict_batch([])) == []
    assert classifier.probabilities(np.empty((0, 28, 28, 1), np.uint8)).shape == (0,)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((28, 28), np.float32),
        np.zeros((28, 28), np.int64),
        np.zeros((28, 28, 3), np.uint8),
        np.zeros((1, 28, 28, 1), np.uint8),
        np.zeros(28, np.uint8),
        np.zeros((0, 28), np.uint8),
    ],
)
def test_what_is_not_uint8_pixels_is_refused(classifier, pixels):
    with pytest.raises(DataError, match="Expected uint8 pixels"):
        classifier.predict(pixels)


def test_an_unknown_model_lists_the_bundled_ones():
    with pytest.raises(UsageError, match="bundled are cnn, deep_cnn, mlp"):
        Classifier.load("resnet")


def test_a_bare_file_runs_when_the_caller_says_what_it_is(tmp_path, raw):
    import zipfile

    path = bundled()["mlp"]
    with zipfile.ZipFile(path) as archive:
        end = min(entry.header_offset for entry in archive.infolist())
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ModelError, match="carries no ModelSpec"):
        Classifier.load(bare)
    with Classifier.load("mlp") as whole, Classifier.load(bare, spec=whole.spec) as opened:
        assert opened.predict(raw["x_test"][0]) == whole.predict(raw["x_test"][0])
