"""The plots of a training run: learning curves, evaluation on the test split, and sheets of labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oddeven.runtime.arrays import Probabilities
from oddeven.runtime.files import replacing
from oddeven.train.data.dataset import Dataset, Split

History = Mapping[str, Sequence[float]]
"""One value an epoch for each metric."""

SIDE = 5
LOSS_LIMITS = (0.0, 0.5)
ACCURACY_LIMITS = (0.8, 1.0)
LOSS_COLOUR, ACCURACY_COLOUR, WRONG_COLOUR = "#b3446c", "#00538a", "#c1121f"


def curves(histories: Mapping[str, History], path: Path) -> None:
    """Loss (left axis) and accuracy (right axis) against epoch, of each model by its name, side by side.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = _figure(5.2 * len(histories) + 0.4, 3.9)
    for number, (title, history) in enumerate(histories.items(), start=1):
        _twin_axes(figure.add_subplot(1, len(histories), number), history, title)
    _write(figure, path)


def samples(split: Split, labels: tuple[str, str], path: Path) -> None:
    """The first 25 images of `split`, each titled with its true label."""
    _sheet(split, [(labels[label], False) for label in split.labels[: SIDE * SIDE]], path)


def predictions(dataset: Dataset, probabilities: Probabilities, threshold: float, path: Path) -> None:
    """The first 25 test images titled `R: <true label> P: <predicted label>`, wrong ones in red with a frame.

    Args:
        dataset: its test split gives the images.
        probabilities: of label 1 for each test image, float32 (N,).
        threshold: strictly above it the prediction is label 1.
        path: of the PNG.
    """
    truth, predicted = dataset.test.labels[: SIDE * SIDE], (probabilities > threshold).astype(int)[: SIDE * SIDE]
    names = dataset.labels
    titles = [(f"R: {names[t]} P: {names[p]}", bool(t != p)) for t, p in zip(truth, predicted, strict=True)]
    _sheet(dataset.test, titles, path)


def mistakes(dataset: Dataset, probabilities: Probabilities, threshold: float, path: Path) -> None:
    """The 25 wrongly predicted test images furthest from `threshold`, with file or number, true label and probability.

    Arguments as `predictions`.
    """
    test = dataset.test
    worst = test.mistakes(probabilities, threshold)[: SIDE * SIDE]
    titles = []
    for position in worst:
        name, label = dataset.image_name(test.index[position]), dataset.labels[test.labels[position]]
        titles.append((f"{name:.18}\n{label:.12}, p = {probabilities[position]:.3f}", True))
    _sheet(test.take(worst), titles, path)


def evaluation(dataset: Dataset, probabilities: Probabilities, threshold: float, path: Path) -> None:
    """Confusion matrix, ROC curve and precision-recall curve over the test split. Arguments as `predictions`."""
    from sklearn import metrics

    figure = _figure(13.0, 4.2)
    matrix, roc, precision_recall = (figure.add_subplot(1, 3, number) for number in (1, 2, 3))
    truth, positive = dataset.test.labels, dataset.labels[1]
    predicted = probabilities > threshold
    metrics.ConfusionMatrixDisplay.from_predictions(
        truth, predicted, display_labels=dataset.labels, values_format=",", cmap="Blues", colorbar=False, ax=matrix
    )
    matrix.set(title="Confusion matrix", xlabel="predicted", ylabel="true")
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(truth, probabilities)
    precision, recall, _ = metrics.precision_recall_curve(truth, probabilities)
    roc.plot(false_positive_rate, true_positive_rate, color=ACCURACY_COLOUR)
    roc.set(title="ROC", xlabel="false positive rate", ylabel=f"recall of {positive}")
    precision_recall.plot(recall, precision, color=ACCURACY_COLOUR)
    precision_recall.set(title="Precision and recall", xlabel=f"recall of {positive}", ylabel="precision")
    if predicted.any():
        here = {"marker": "o", "color": WRONG_COLOUR, "label": f"threshold {threshold:.3f}", "linestyle": "none"}
        roc.plot(predicted[truth == 0].mean(), predicted[truth == 1].mean(), **here)
        precision_recall.plot(predicted[truth == 1].mean(), truth[predicted].mean(), **here)
        roc.legend()
    _write(figure, path)


def _twin_axes(axes: Any, history: History, title: str) -> None:
    """One model's four curves: solid for training, dashed for validation."""
    epochs = range(1, len(history["loss"]) + 1)
    marker = "o" if len(epochs) == 1 else ""  # a single epoch would draw no line
    right = axes.twinx()
    lines = []
    for side, metric, colour in ((axes, "loss", LOSS_COLOUR), (right, "accuracy", ACCURACY_COLOUR)):
        for key, style, who in ((metric, "-", "train"), (f"val_{metric}", "--", "validation")):
            lines += side.plot(epochs, history[key], style, color=colour, label=f"{who} {metric}", marker=marker)
        side.set_ylabel(metric, color=colour)
        side.tick_params(axis="y", colors=colour)
    lowest = min(min(history[key]) for key in ("accuracy", "val_accuracy"))
    highest = max(max(history[key]) for key in ("loss", "val_loss"))
    easy = highest <= 2 * LOSS_LIMITS[1] and lowest >= ACCURACY_LIMITS[0] - 0.1  # a curve may begin outside
    axes.set(title=title, xlabel="epoch", ylim=LOSS_LIMITS if easy else (0.0, highest))
    right.set_ylim(*(ACCURACY_LIMITS if easy else (min(0.5, lowest), 1.0)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(handles=lines, loc="center right", fontsize="small")


def _sheet(split: Split, titles: Sequence[tuple[str, bool]], path: Path) -> None:
    """A 5x5 sheet of the first images of `split`; a title is a text and whether to mark it as wrong."""
    figure = _figure(7.0, 7.6)
    for number, (text, wrong) in enumerate(titles):
        axes = figure.add_subplot(SIDE, SIDE, number + 1)
        image = split.images[number]
        axes.imshow(image.squeeze(), cmap="gray" if image.shape[-1] == 1 else None, vmin=0, vmax=255)
        axes.set_title(text, fontsize="small", color=WRONG_COLOUR if wrong else "black")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=WRONG_COLOUR if wrong else "0.8", linewidth=3 if wrong else 0.5)
    _write(figure, path)


def _figure(width_in: float, height_in: float) -> Any:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["text.parse_math"] = False  # a dollar sign in a label or file name does not begin a formula
    return Figure(figsize=(width_in, height_in), layout="constrained")


def _write(figure: Any, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
