"""The plots show what the published study's show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from oddeven.train import plots
from oddeven.train.data.registry import load_dataset

HISTORY = {
    "loss": [0.4, 0.2, 0.1],
    "accuracy": [0.85, 0.92, 0.97],
    "val_loss": [0.35, 0.25, 0.2],
    "val_accuracy": [0.86, 0.9, 0.95],
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, for a look inside."""
    figures = []
    write = plots._write
    monkeypatch.setattr(plots, "_write", lambda figure, path: (figures.append(figure), write(figure, path)))
    return figures


@pytest.fixture(scope="module")
def data():
    return load_dataset("mnist")


def test_curves_have_the_published_axes_and_all_four_lines(drawn, tmp_path):
    plots.curves({"mlp": HISTORY}, tmp_path / "curves.png")
    left, right = drawn[0].axes
    assert left.get_ylim() == (0.0, 0.5)
    assert right.get_ylim() == (0.8, 1.0)
    lines = [list(line.get_ydata()) for axes in (left, right) for line in axes.lines]
    assert lines == [HISTORY[key] for key in ("loss", "val_loss", "accuracy", "val_accuracy")]
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"


def test_the_curves_of_several_models_are_side_by_side(drawn, tmp_path):
    plots.curves({"mlp": HISTORY, "cnn": HISTORY, "deep_cnn": HISTORY}, tmp_path / "comparison.png")
    assert [axes.get_title() for axes in drawn[0].axes if axes.get_title()] == ["mlp", "cnn", "deep_cnn"]


def test_the_dataset_sheet_is_titled_odd_and_even(drawn, tmp_path, data, raw):
    plots.samples(data.test, data.labels, tmp_path / "dataset.png")
    assert [axes.get_title() for axes in drawn[0].axes] == [("even", "odd")[d % 2] for d in raw["y_test"][:25]]
    np.testing.assert_array_equal(drawn[0].axes[3].images[0].get_array(), raw["x_test"][3])


def test_the_prediction_sheet_marks_the_wrong_ones(drawn, tmp_path, data, raw):
    probabilities = (raw["y_test"] % 2).astype(np.float32)
    probabilities[2] = 0.1
    plots.predictions(data, probabilities, 0.5, tmp_path / "predictions.png")
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles[:4] == ["R: odd P: odd", "R: even P: even", "R: odd P: even", "R: even P: even"]
    marked = [to_hex(axes.title.get_color()) == plots.WRONG_COLOUR for axes in drawn[0].axes]
    assert marked == [number == 2 for number in range(25)]


def test_the_worst_mistakes_come_first_and_nothing_else_is_shown(drawn, tmp_path, data, raw):
    probabilities = (raw["y_test"] % 2).astype(np.float32)
    probabilities[[7, 2]] = [0.4, 0.1]
    plots.mistakes(data, probabilities, 0.6, tmp_path / "mistakes.png")
    assert [axes.get_title() for axes in drawn[0].axes] == [
        "image 60002\nodd, p = 0.100",
        "image 60007\nodd, p = 0.400",
    ]


def test_evaluation_draws_the_curves_and_where_the_threshold_is_on_them(drawn, tmp_path, data):
    from sklearn.metrics import auc, average_precision_score, confusion_matrix, roc_auc_score

    random = np.random.default_rng(0)
    labels = data.test.labels
    # Rounded, so that many scores are equal.
    scores = np.clip(np.round(0.3 * labels + random.random(len(labels)) * 0.7, 2), 0, 1).astype(np.float32)
    plots.evaluation(data, scores, 0.5, tmp_path / "evaluation.png")
    matrix, roc, precision_recall = drawn[0].axes
    expected = confusion_matrix(labels, scores > 0.5)
    assert [text.get_text() for text in matrix.texts] == [f"{count:,}" for count in expected.ravel()]
    # Exact in both ways of summing, but for the rounding of a hundred float64 terms.
    assert auc(*roc.lines[0].get_data()) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    recall, precision = precision_recall.lines[0].get_data()
    area = -np.sum(np.diff(recall) * precision[:-1])
    assert area == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    (tn, fp), (fn, tp) = expected
    at = [roc.lines[1].get_xdata()[0], roc.lines[1].get_ydata()[0]]
    np.testing.assert_allclose(at, [fp / (fp + tn), tp / (tp + fn)])
    at = [precision_recall.lines[1].get_xdata()[0], precision_recall.lines[1].get_ydata()[0]]
    np.testing.assert_allclose(at, [tp / (tp + fn), tp / (tp + fp)])


def test_a_dollar_sign_does_not_begin_a_formula(tmp_path, data):
    odd = dataclasses.replace(data, labels=("$x_{$", "a$b"))
    plots.predictions(odd, np.zeros(10_000, np.float32), 0.5, tmp_path / "predictions.png")
    plots.evaluation(odd, np.zeros(10_000, np.float32), 0.5, tmp_path / "evaluation.png")


def test_curves_of_a_hard_task_stay_on_the_axes(drawn, tmp_path):
    history = {key: [0.55, 0.6] for key in HISTORY} | {"loss": [1.4, 0.7]}
    plots.curves({"mlp": history}, tmp_path / "curves.png")
    left, right = drawn[0].axes
    assert left.get_ylim()[1] >= 1.4
    assert right.get_ylim()[0] <= 0.55
