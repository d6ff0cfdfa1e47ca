"""Handwriting that is not MNIST's: the UCI optical digits, drawn as ink on uneven, noisy paper."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import benchmark
from sklearn.datasets import load_digits

from oddeven.runtime.classifier import Classifier

handwriting = benchmark("handwriting")


@pytest.mark.slow
@pytest.mark.parametrize("light_ink", [False, True], ids=["dark-on-light", "light-on-dark"])
def test_odd_or_even_is_read_from_photographs(light_ink):
    with Classifier.load("cnn") as classifier:
        view = classifier.spec.input
        ready = [classifier.prepare(picture) for picture in handwriting.photographs(light_ink=light_ink)]
    for model, least in (("deep_cnn", 0.970), ("cnn", 0.93), ("mlp", 0.91)):
        with Classifier.load(model, min_familiarity=0) as classifier:
            assert classifier.spec.input == view, "not prepared alike"
            labels = [prediction.label for prediction in classifier.predict_ready(np.stack(ready))]
        right = [label == ("even", "odd")[d % 2] for label, d in zip(labels, load_digits().target, strict=True)]
        assert np.mean(right) >= least, model


@pytest.mark.parametrize("model", ["deep_cnn", "cnn", "mlp"])
def test_few_of_them_are_unknown(model):
    """The limit was chosen on images that are not as blurred as these. Of all 1,797: docs/unknown.md."""
    with Classifier.load(model) as classifier:
        labels = [answer.label for answer in classifier.predict_batch(handwriting.photographs(600))]
    assert np.mean([label == "unknown" for label in labels]) < 0.08


def test_an_empty_page_is_not_an_answer():
    random = np.random.default_rng(1)
    pages = (handwriting.photograph(np.zeros((8, 8)), random, bool(turn % 2)) for turn in range(40))
    with Classifier.load("mlp") as classifier:
        assert {answer.label for answer in classifier.predict_batch(pages)} == {"uncertain"}
