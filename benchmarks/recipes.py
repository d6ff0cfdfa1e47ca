"""Train every model under every recipe, and write docs/results.md and its plots.

    python benchmarks/recipes.py

About an hour and a half on two cores. Stopped and started again, it goes on where it was. The `best` models that
the repository ships come from this run: `make models` copies them and exports the bundled ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from oddeven.runtime.device.host_info import cpu_name
from oddeven.runtime.table import render
from oddeven.train import plots

ROOT = Path(__file__).parents[1]
MODELS = ("mlp", "cnn", "deep_cnn")
SEEDS = {"classic": (0,), "fast": (0, 1, 2), "best": (0,)}
PUBLISHED = {"mlp": (0.9866, 0.0545), "cnn": (0.9882, 0.0331), "deep_cnn": (0.9962, 0.0125)}
BARS = {
    "fast": {"mlp": 0.9925, "cnn": 0.9960, "deep_cnn": 0.9965},
    "best": {"mlp": 0.9940, "cnn": 0.9965, "deep_cnn": 0.9975},
}


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
    """Train what is not trained yet, a process a run, and yield each result; the models to ship come first."""
    for turn in range(max(map(len, SEEDS.values()))):
        for recipe in reversed(SEEDS):
            for model in MODELS:
                if turn < len(SEEDS[recipe]):
                    yield _run(recipe, model, SEEDS[recipe][turn], folder)


def _run(recipe: str, model: str, seed: int, folder: Path) -> Run:
    out = folder / recipe / f"seed{seed}"
    arguments = [model, "--recipe", recipe, "--seed", str(seed), "--out", str(out)]
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


def page(results: list[Run]) -> str:
    """docs/results.md as text."""
    versions = {name: version(name) for name in ("tensorflow", "keras", "numpy")}
    return "\n".join(
        [
            "# What the recipes reach",
            "",
            "Made by `python benchmarks/recipes.py`, which trains every model under every recipe on the full",
            "training split and uses the 10,000 test images once a run. Spread is the range over the seeds.",
            "Times are whole fits, validation included, of one run of that command; `of classic` compares them.",
            "CPU time counts all cores and depends less than wall time on other work of the machine.",
            "",
            f"Machine: {cpu_name()}. Python {platform.python_version()}, "
            + ", ".join(f"{name} {number}" for name, number in versions.items())
            + ".",
            "",
            render(
                ("model", "recipe", "epochs", "seeds", "test accuracy", "spread", "bar", "test loss", "wall s",
                 "of classic", "CPU s", "of classic "),
                list(_rows(results)),
                markdown=True,
            ),
            "",
            "All three models together, for one seed:",
            "",
            render(("recipe", "wall s", "of classic", "CPU s", "of classic "), list(_totals(results)), markdown=True),
            "",
            "Under the published recipe the mlp overfits (its validation loss rises), the cnn does so less, and",
            "dropout keeps the deep_cnn from it:",
            "",
            "![Learning curves under the classic recipe](images/curves-classic.png)",
            "",
            "Under `best`, augmentation makes the training images harder than the validation images:",
            "",
            "![Learning curves under the best recipe](images/curves-best.png)",
            "",
        ]
    )  # fmt: skip


def _rows(results: list[Run]) -> Iterator[tuple[object, ...]]:
    for model in MODELS:
        accuracy, loss = PUBLISHED[model]
        yield model, "published", 30, "-", f"{accuracy:.4f}", "-", "-", f"{loss:.4f}", "-", "-", "-", "-"
        classic = [r for r in results if r.model == model and r.recipe == "classic"]
        for recipe in SEEDS:
            group = [r for r in results if r.model == model and r.recipe == recipe]
            accuracies = [r.accuracy for r in group]
            bar = BARS.get(recipe, {}).get(model)
            wall, cpu = (statistics.mean(getattr(r, key) for r in group) for key in ("wall_s", "cpu_s"))
            yield (
                model,
                recipe,
                group[0].epochs,
                len(group),
                f"{statistics.mean(accuracies):.4f}",
                f"{min(accuracies):.4f} to {max(accuracies):.4f}" if len(group) > 1 else "-",
                "-" if bar is None else f"{bar:.4f}",
                f"{statistics.mean(r.loss for r in group):.4f}",
                f"{wall:.0f}",
                f"{wall / classic[0].wall_s:.2f}",
                f"{cpu:.0f}",
                f"{cpu / classic[0].cpu_s:.2f}",
            )


def _totals(results: list[Run]) -> Iterator[tuple[object, ...]]:
    """All three models under each recipe, for one seed, compared with classic."""
    sums = {
        recipe: [
            sum(getattr(r, key) for r in results if r.recipe == recipe) / len(seeds) for key in ("wall_s", "cpu_s")
        ]
        for recipe, seeds in SEEDS.items()
    }
    for recipe, times in sums.items():
        yield (
            recipe,
            *(text for t, base in zip(times, sums["classic"], strict=True) for text in (f"{t:.0f}", f"{t / base:.2f}")),
        )


def draw_curves(folder: Path, out: Path) -> None:
    """Learning curves of the three models side by side, for seed 0 of each recipe, beside the page `out`."""
    for recipe in SEEDS:
        records = {name: folder / recipe / "seed0" / name / "history.json" for name in MODELS}
        histories = {name: json.loads(path.read_text())["history"] for name, path in records.items()}
        plots.comparison(histories, out.parent / "images" / f"curves-{recipe}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "recipes")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args()
    options.out.write_text(page(list(runs(options.folder))))
    draw_curves(options.folder, options.out)
