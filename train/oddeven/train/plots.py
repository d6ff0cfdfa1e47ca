"""The pictures of a training run: learning curves, and sheets of samples with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.files import replacing
from oddeven.train.checkpoint import History
from oddeven.train.data.dataset import Dataset, Split

Probabilities = npt.NDArray[np.float32]

SIDE = 5
LOSS_LIMITS = (0.0, 0.5)
ACCURACY_LIMITS = (0.8, 1.0)
LOSS_COLOUR, ACCURACY_COLOUR, WRONG_COLOUR = "#b3446c", "#00538a", "#c1121f"


def curves(history: History, title: str, path: Path) -> None:
    """Loss (left axis) and accuracy (right axis), training and validation, against epoch."""
    comparison({title: history}, path)


def comparison(histories: Mapping[str, History], path: Path) -> None:
    """The learning curves of several models side by side on equal axes.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = _figure(5.2 * len(histories) + 0.4, 3.9)
    for number, (title, history) in enumerate(histories.items(), start=1):
        _twin_axes(figure.add_subplot(1, len(histories), number), history, title)
    _write(figure, path)


def samples(split: Split, labels: tuple[str, str], path: Path) -> None:
    """The first 25 pictures of `split`, each titled with its true label."""
    _sheet(split, [(labels[label], False) for label in split.labels[: SIDE * SIDE]], path)


def predictions(dataset: Dataset, probabilities: Probabilities, threshold: float, path: Path) -> None:
    """The first 25 test pictures titled `R: <true label> P: <predicted label>`, wrong ones in red with a frame.

    Args:
        dataset: its test split gives the pictures.
        probabilities: of label 1 for each test picture, float32 (N,).
        threshold: strictly above it the answer is label 1.
        path: of the PNG.
    """
    truth, answers = dataset.test.labels[: SIDE * SIDE], (probabilities > threshold).astype(int)[: SIDE * SIDE]
    names = dataset.labels
    titles = [(f"R: {names[t]} P: {names[a]}", bool(t != a)) for t, a in zip(truth, answers, strict=True)]
    _sheet(dataset.test, titles, path)


def mistakes(dataset: Dataset, probabilities: Probabilities, threshold: float, path: Path) -> None:
    """The 25 wrongly answered test pictures furthest from `threshold`, with file or number, true label and probability.

    Arguments as `predictions`.
    """
    test = dataset.test
    wrong = np.flatnonzero((probabilities > threshold) != test.labels)
    worst = wrong[np.argsort(-np.abs(probabilities[wrong] - threshold), kind="stable")][: SIDE * SIDE]
    titles = []
    for position in worst:
        number = test.index[position]
        file = Path(dataset.files[number]).name if dataset.files else f"picture {number}"
        p, label = probabilities[position], dataset.labels[test.labels[position]]
        titles.append((f"{file:.18}\n{label:.12}, p = {p:.3f}", True))
    _sheet(test.take(worst), titles, path)


def evaluation(dataset: Dataset, probabilities: Probabilities, threshold: float, path: Path) -> None:
    """Confusion matrix, ROC curve and precision-recall curve over the test split. Arguments as `predictions`."""
    figure = _figure(13.0, 4.2)
    matrix, roc, precision_recall = (figure.add_subplot(1, 3, number) for number in (1, 2, 3))
    labels = dataset.test.labels
    _confusion(matrix, labels, (probabilities > threshold).astype(np.uint8), dataset.labels)
    ends = np.flatnonzero(np.append(np.diff(np.sort(-probabilities)), 1.0))  # the last of each run of equal scores
    truth = labels[np.argsort(-probabilities, kind="stable")]
    hits, alarms = np.cumsum(truth)[ends], np.cumsum(1 - truth.astype(int))[ends]
    recall, false_alarms = hits / max(1, hits[-1]), alarms / max(1, alarms[-1])
    at = np.searchsorted(np.sort(-probabilities)[ends], -threshold) - 1  # the last score strictly above the threshold
    roc.plot([0, *false_alarms], [0, *recall], color=ACCURACY_COLOUR)
    roc.set(title="ROC", xlabel="share of false alarms", ylabel=f"recall of {dataset.labels[1]}")
    precision_recall.plot(recall, hits / (hits + alarms), color=ACCURACY_COLOUR)
    precision_recall.set(title="Precision and recall", xlabel=f"recall of {dataset.labels[1]}", ylabel="precision")
    if at >= 0:
        point = {"marker": "o", "color": WRONG_COLOUR, "label": f"threshold {threshold:.3f}", "linestyle": "none"}
        roc.plot(false_alarms[at], recall[at], **point)
        precision_recall.plot(recall[at], hits[at] / (hits[at] + alarms[at]), **point)
        roc.legend()
    _write(figure, path)


def _confusion(axes: Any, truth: npt.NDArray[np.uint8], answers: npt.NDArray[np.uint8], names: Sequence[str]) -> None:
    """The four counts, shaded by their share of the true label's pictures."""
    counts = np.bincount(2 * truth + answers, minlength=4).reshape(2, 2)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count:,}", ha="center", color="white" if shares[row, column] > 0.5 else "black")
    axes.set(title="Confusion", xlabel="answer", ylabel="truth", xticks=[0, 1], yticks=[0, 1])
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)


def _twin_axes(axes: Any, history: History, title: str) -> None:
    """One model's four curves: solid for training, dashed for validation."""
    epochs = range(1, len(history["loss"]) + 1)
    right = axes.twinx()
    lines = []
    for side, measure, colour in ((axes, "loss", LOSS_COLOUR), (right, "accuracy", ACCURACY_COLOUR)):
        for key, style, who in ((measure, "-", "train"), (f"val_{measure}", "--", "validation")):
            lines += side.plot(epochs, history[key], style, color=colour, label=f"{who} {measure}", marker=_dot(epochs))
        side.set_ylabel(measure, color=colour)
        side.tick_params(axis="y", colors=colour)
    lowest = min(min(history[key]) for key in ("accuracy", "val_accuracy"))
    highest = max(max(history[key]) for key in ("loss", "val_loss"))
    easy = highest <= 2 * LOSS_LIMITS[1] and lowest >= ACCURACY_LIMITS[0] - 0.1  # a curve may begin outside
    axes.set(title=title, xlabel="epoch", ylim=LOSS_LIMITS if easy else (0.0, highest))
    right.set_ylim(*(ACCURACY_LIMITS if easy else (min(0.5, lowest), 1.0)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(handles=lines, loc="center right", fontsize="small")


def _dot(epochs: Sequence[int]) -> str:
    """A single epoch would draw no line, so it gets a dot."""
    return "o" if len(epochs) == 1 else ""


def _sheet(split: Split, titles: Sequence[tuple[str, bool]], path: Path) -> None:
    """A 5x5 sheet of the first pictures of `split`; a title is a text and whether to mark it as wrong."""
    figure = _figure(7.0, 7.6)
    for number, (text, wrong) in enumerate(titles):
        axes = figure.add_subplot(SIDE, SIDE, number + 1)
        image = split.images[number]
        axes.imshow(image.squeeze(), cmap="gray" if image.shape[-1] == 1 else None, vmin=0, vmax=255)
        axes.set_title(text, fontsize="small", color=WRONG_COLOUR if wrong else "black")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=WRONG_COLOUR if wrong else "0.8", linewidth=3 if wrong else 0.5)
    _write(figure, path)


def _figure(width_in: float, height_in: float) -> Any:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["text.parse_math"] = False  # a dollar sign in a label or a file's name is no formula
    return Figure(figsize=(width_in, height_in), layout="constrained")


def _write(figure: Any, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
