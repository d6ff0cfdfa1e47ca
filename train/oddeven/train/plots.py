"""The pictures of a training run: learning curves, and sheets of samples with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.files import replacing
from oddeven.train.checkpoint import History
from oddeven.train.dataset import Dataset, Split

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


def predictions(dataset: Dataset, probabilities: npt.NDArray[np.float32], path: Path) -> None:
    """The first 25 test pictures titled `R: <true label> P: <predicted label>`, wrong ones in red with a frame.

    Args:
        dataset: its test split gives the pictures.
        probabilities: of label 1 for each test picture, float32 (N,).
        path: of the PNG.
    """
    truth, answers = dataset.test.labels[: SIDE * SIDE], (probabilities > 0.5).astype(int)[: SIDE * SIDE]
    names = dataset.labels
    titles = [(f"R: {names[t]} P: {names[a]}", bool(t != a)) for t, a in zip(truth, answers, strict=True)]
    _sheet(dataset.test, titles, path)


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
    axes.set(title=title, xlabel="epoch", ylim=LOSS_LIMITS)
    right.set_ylim(*ACCURACY_LIMITS)
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
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def _write(figure: Any, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
