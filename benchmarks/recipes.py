"""Train every model under every recipe, and fill docs/results.md and its plots.

    python benchmarks/recipes.py
    python benchmarks/recipes.py --more

About an hour and a half on two cores, and two hours for the second, which trains `best` to learn more than the labels.
Stopped and started again, it goes on where it was. The models that the repository ships come from the second: those of
seed 0, and the deep_cnn that teaches the others. `make models` copies them and exports the bundled ones.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared import DOCS, MODELS, ROOT, fill_page, parser, table, versions

from oddeven.runtime.device.host_info import cpu_name
from oddeven.train import plots

SEEDS = {"classic": (0,), "fast": (0, 1, 2), "best": (0,)}
MORE_SEEDS = (0, 1, 2)
TEACHER = "deep_cnn"
MORE_EPOCHS = {"cnn": 70, "deep_cnn": 40}  # up to one and a half times the time of `classic`
PUBLISHED = {"mlp": (0.9866, 0.0545), "cnn": (0.9882, 0.0331), "deep_cnn": (0.9962, 0.0125)}
BARS = {
    "fast": {"mlp": 0.9925, "cnn": 0.9960, "deep_cnn": 0.9965},
    "best": {"mlp": 0.9940, "cnn": 0.9965, "deep_cnn": 0.9975},
}
MORE_BARS = {"mlp": 0.9960, "cnn": 0.9978, "deep_cnn": 0.9982}


@dataclass(frozen=True)
class Run:
    """One finished training run; times in seconds over all epochs."""

    recipe: str
    model: str
    seed: int
    epochs: int
    accuracy: float
    loss: float
    wall_s: float
    cpu_s: float


def runs(folder: Path) -> Iterator[Run]:
    """Train what is not trained yet, a process a run, and yield each result."""
    for turn in range(max(map(len, SEEDS.values()))):
        for recipe in reversed(SEEDS):
            for model in MODELS:
                if turn < len(SEEDS[recipe]):
                    yield train(recipe, model, SEEDS[recipe][turn], folder / recipe)


def train(recipe: str, model: str, seed: int, folder: Path, *options: str) -> Run:
    """One run, in `folder`/seedN; a finished one is only read."""
    out = folder / f"seed{seed}"
    arguments = [model, "--recipe", recipe, "--seed", str(seed), "--out", str(out), *options]
    subprocess.run([sys.executable, "-m", "oddeven.runtime", "train", *arguments], check=True)
    record = json.loads((out / model / "history.json").read_text())
    history = record["history"]
    return Run(
        recipe=recipe,
        model=model,
        seed=seed,
        epochs=len(history["loss"]),
        accuracy=record["test_accuracy"],
        loss=record["test_loss"],
        wall_s=sum(history["seconds"]),
        cpu_s=sum(history["cpu_seconds"]),
    )


def recipes_text(results: list[Run]) -> str:
    """The machine and the two tables of all recipes."""
    header = ("model", "recipe", "epochs", "seeds", "test accuracy", "spread", "bar", "test loss", "wall s",
              "of classic", "CPU s", "of classic ")  # fmt: skip
    totals = ("recipe", "wall s", "of classic", "CPU s", "of classic ")
    return "\n\n".join(
        [
            machine(),
            table(header, _rows(results)),
            "All three models together, for one seed:",
            table(totals, _totals(results)),
        ]
    )


def more_runs(folder: Path) -> Iterator[Run]:
    """`best` with subclasses, model by model; those that train for longer learn from a deep_cnn that was trained so."""
    longer = {model: ("--subclasses", "--epochs", str(epochs)) for model, epochs in MORE_EPOCHS.items()}
    train("best", TEACHER, 0, folder / "teacher", *longer[TEACHER])
    teacher = folder / "teacher" / "seed0" / TEACHER / f"{TEACHER}.keras"
    for model in MODELS:
        for seed in MORE_SEEDS:
            options = (*longer[model], "--teacher", str(teacher)) if model in longer else ("--subclasses",)
            yield train("best", model, seed, folder, *options)


def more_text(results: list[Run]) -> str:
    """The machine and the table of `more_runs`: the mean over the seeds that have finished."""
    rows = []
    for model in MODELS:
        if group := [r for r in results if r.model == model]:
            (*cells, loss), teacher = _cells(group, MORE_BARS[model]), TEACHER if model in MORE_EPOCHS else "-"
            met = round(_mean(group, "accuracy"), 4) >= MORE_BARS[model]
            rows.append((model, teacher, *cells, "met" if met else "missed", loss))
    header = ("model", "teacher", "epochs", "seeds", "test accuracy", "spread", "bar", "", "test loss")
    return f"{machine()}\n\n{table(header, rows)}"


def machine() -> str:
    """The CPU and the versions that train."""
    packages = versions(("tensorflow", "keras", "numpy"))
    return f"Machine: {cpu_name()}. Python {platform.python_version()}, {packages}."


def _mean(group: list[Run], key: str) -> float:
    return float(statistics.mean(getattr(r, key) for r in group))


def _cells(group: list[Run], bar: float | None) -> tuple[object, ...]:
    """Epochs, seeds, mean accuracy, its spread, the bar, and mean loss of runs that differ in their seeds alone."""
    accuracies = [r.accuracy for r in group]
    spread = f"{min(accuracies):.4f} to {max(accuracies):.4f}" if len(group) > 1 else "-"
    accuracy, loss = (f"{_mean(group, key):.4f}" for key in ("accuracy", "loss"))
    return group[0].epochs, len(group), accuracy, spread, "-" if bar is None else f"{bar:.4f}", loss


def _times(groups: list[list[Run]], classic: list[list[Run]]) -> Iterator[str]:
    """Wall and CPU seconds of groups of runs together, and each as a part of those by the recipe `classic`."""
    for key in ("wall_s", "cpu_s"):
        seconds, base = (sum(_mean(group, key) for group in of) for of in (groups, classic))
        yield from (f"{seconds:.0f}", f"{seconds / base:.2f}")


def _groups(results: list[Run], recipe: str) -> dict[str, list[Run]]:
    """The runs by a recipe for each model."""
    return {model: [r for r in results if (r.model, r.recipe) == (model, recipe)] for model in MODELS}


def _rows(results: list[Run]) -> Iterator[tuple[object, ...]]:
    classic = _groups(results, "classic")
    for model in MODELS:
        accuracy, loss = PUBLISHED[model]
        yield model, "published", 30, "-", f"{accuracy:.4f}", "-", "-", f"{loss:.4f}", "-", "-", "-", "-"
        for recipe in SEEDS:
            group, bar = _groups(results, recipe)[model], BARS.get(recipe, {}).get(model)
            yield model, recipe, *_cells(group, bar), *_times([group], [classic[model]])


def _totals(results: list[Run]) -> Iterator[tuple[object, ...]]:
    """All three models under each recipe, for one seed, compared with classic."""
    classic = list(_groups(results, "classic").values())
    for recipe in SEEDS:
        yield recipe, *_times(list(_groups(results, recipe).values()), classic)


def draw_curves(folder: Path) -> None:
    """Learning curves of the three models side by side, for seed 0 of the recipes that the page shows."""
    for recipe in ("classic", "best"):
        records = {name: folder / recipe / "seed0" / name / "history.json" for name in MODELS}
        histories = {name: json.loads(path.read_text())["history"] for name, path in records.items()}
        plots.curves(histories, DOCS / "images" / f"curves-{recipe}.png")


def main() -> None:
    """Fill the page; with `--more`, after each model."""
    arguments = parser(__doc__, folder=ROOT / "build" / "recipes")
    arguments.add_argument("--more", action="store_true", help="train `best` to learn more than the labels")
    options = arguments.parse_args()
    if not options.more:
        fill_page("results.md", {"recipes": recipes_text(list(runs(options.folder)))})
        draw_curves(options.folder)
        return
    more: list[Run] = []
    for run in more_runs(options.folder / "more"):
        more.append(run)
        fill_page("results.md", {"more": more_text(more)})


if __name__ == "__main__":
    main()
