"""Fill docs/transfer.md: lite0 with the recipe `transfer` on few photographs, and its int8 files.

    npm install emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 emoji-datasource-apple@16.0.0
    python benchmarks/transfer.py node_modules

Everything is done by `oddeven train`, `export` and `bench`, by default with their default options. What was done is not
done again; `--task NAME --seeds N` does a part.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from shared import ROOT, fill_page, parser, table

from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_name
from oddeven.runtime.images.decode import decode_image
from oddeven.runtime.parity.metrics import auc
from oddeven.train.refit import refit

COLUMNS = ("path", "label", "split", "group", "slice")
FORMATS = ("tflite-float32", "tflite-int8", "onnx-int8")
COSTS, SIDES, THREADS = "costs", (96, 160, 224), (1, 2)
ANIMALS_FOOD = {"Animals & Nature": "animals", "Food & Drink": "food"}
Row = tuple[str, ...]


def emoji(modules: Path, maker: str) -> Iterator[tuple[str, str, str]]:
    """The path, category and name of each emoji of a maker, all its skin tones under one name."""
    source = modules / f"emoji-datasource-{maker}"
    for entry in json.loads((source / "emoji.json").read_text()):
        for variant in (entry, *entry.get("skin_variations", {}).values()):
            path = source / "img" / maker / "64" / variant["image"]
            if path.is_file():
                yield str(path), entry["category"], entry["unified"]


def people_things(modules: Path, seed: int) -> list[Row]:
    """People against everything else, two makers, split by `oddeven train`."""
    return [
        (path, "people" if category == "People & Body" else "things", "", name, maker)
        for maker in ("google", "twitter")
        for path, category, name in emoji(modules, maker)
    ]


def sixty(modules: Path, seed: int) -> list[Row]:
    """60 images of each label of the same, at random; all others, but variants and copies of these, test."""
    rows, chosen = people_things(modules, seed), []
    for label in ("people", "things"):
        own = [row for row in rows if row[1] == label]
        random.Random(seed).shuffle(own)
        chosen += own[:60]
    names, seen = {row[3] for row in chosen}, {decode_image(row[0], 3).tobytes() for row in chosen}
    others = [row for row in rows if row[3] not in names and decode_image(row[0], 3).tobytes() not in seen]
    return [(*row[:2], split, "", row[4]) for split, part in (("train", chosen), ("test", others)) for row in part]


def sixty_alone(modules: Path, seed: int) -> list[Row]:
    """These 60 images of each label and no others, split by `oddeven train`: for the seconds."""
    return [(*row[:2], "", "", row[4]) for row in sixty(modules, seed) if row[2] == "train"]


def animals_food(modules: Path, seed: int) -> list[Row]:
    """Animals against food: two makers train, a third one's test."""
    return [
        (path, ANIMALS_FOOD[category], "test" if maker == "apple" else "train", "", maker)
        for maker in ("google", "twitter", "apple")
        for path, category, _ in emoji(modules, maker)
        if category in ANIMALS_FOOD
    ]


# The maker of the task's list, and the accuracy to reach; None where only the seconds count.
TASKS: Mapping[str, tuple[Callable[[Path, int], list[Row]], float | None]] = {
    "people-things": (people_things, 0.955),
    "sixty": (sixty, 0.90),
    "sixty-alone": (sixty_alone, None),
    "animals-food": (animals_food, 0.92),
}


def familiarity_auc(artifacts: Path, rows: Sequence[Row], modules: Path) -> float | None:
    """How well the int8 file tells the test images from emoji of all other categories, by the same maker: an AUROC."""
    (model,) = artifacts.glob("*/*.int8.tflite")
    known = [row[0] for row in rows if row[2] == "test"]
    unknown = [path for path, category, _ in emoji(modules, "apple") if category not in ANIMALS_FOOD]
    with Classifier.load(model) as classifier:
        found = [prediction.familiarity for prediction in classifier.predict_batch([*known, *unknown])]
    labels = np.repeat([1, 0], [len(known), len(unknown)]).astype(np.uint8)
    return auc(np.asarray(found, np.float64), labels)


def shown_auc(folder: Path, model: Path, rows: Sequence[Row], modules: Path) -> float | None:
    """As `familiarity_auc`, of a copy of `model` that was shown all other emoji by the makers that it is trained on."""
    copy, shown = folder / "shown" / model.parent.name, folder / "shown" / "unknown"
    shutil.rmtree(folder / "shown", ignore_errors=True)
    shutil.copytree(model.parent, copy)
    shown.mkdir()
    for maker in ("google", "twitter"):
        for path, category, _ in emoji(modules, maker):
            if category not in ANIMALS_FOOD:
                (shown / f"{maker}-{Path(path).name}").symlink_to(Path(path).resolve())
    refit(copy / model.name, shown)
    export(copy / model.name, folder / "shown" / "artifacts", FORMATS[1:2])
    return familiarity_auc(folder / "shown" / "artifacts", rows, modules)


def run(name: str, seed: int, modules: Path, work: Path) -> dict[str, Any]:
    """Train and export one task; what came of it, from its file if it was done before."""
    folder = work / f"{name}-{seed}"
    done = folder / "result.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    rows = TASKS[name][0](modules, seed)
    listing = write_listing(folder, rows)
    start = time.perf_counter()
    oddeven("train", "--data", listing, "--seed", seed, "--split-seed", seed, "--out", folder / "runs")
    trained = time.perf_counter()
    (model,) = (folder / "runs").glob("*/*.keras")
    export(model, folder / "artifacts")
    report = json.loads((folder / "artifacts" / "parity.json").read_text())
    result = {
        "model": model.stem,
        "train_seconds": trained - start,
        "export_seconds": time.perf_counter() - trained,
        "files": {file["format"]: file for file in report["files"]},
    }
    if name == "animals-food":
        result["familiarity_auc"] = familiarity_auc(folder / "artifacts", rows, modules)
        result["shown_auc"] = shown_auc(folder, model, rows, modules)
    done.write_text(json.dumps(result))
    return result


def write_listing(folder: Path, rows: Sequence[Row]) -> Path:
    """`images.csv` in `folder`, for `oddeven train --data`."""
    folder.mkdir(parents=True, exist_ok=True)
    keep = [i for i, column in enumerate(COLUMNS) if column != "split" or rows[0][i]]
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[row[i] for i in keep] for row in (COLUMNS, *rows)])
    return folder / "images.csv"


def export(model: Path, out: Path, formats: Sequence[str] = FORMATS) -> None:
    """The model in these `formats`."""
    oddeven("export", model, "--out", out, *(argument for name in formats for argument in ("--format", name)))


def oddeven(*arguments: object) -> str:
    """What the command line prints; exit code 1, which is a verdict, is none of an error."""
    command = [sys.executable, "-m", "oddeven.runtime", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    return done.stdout


def costs(side: int, modules: Path, work: Path) -> list[dict[str, Any]]:
    """What `oddeven bench` measures of the files of lite0 with that input, by engine and number of threads."""
    folder = work / f"costs-{side}"
    done = folder / "costs.json"
    if not done.is_file():
        listing = write_listing(folder, animals_food(modules, 0))
        oddeven("train", "lite0", "--data", listing, "--image-size", side, "--epochs", 1, "--out", folder / "runs")
        export(folder / "runs/lite0/lite0.keras", folder / "artifacts")
        found = []
        for threads in THREADS:
            found += json.loads(oddeven("bench", folder / "artifacts/lite0", "--threads", threads, "--json"))["files"]
        done.write_text(json.dumps(found))
    return list(json.loads(done.read_text()))


def tasks(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """The machine, and a row for each task; `results` of `run` by task."""
    rows = []
    for name, runs in results.items():
        parities = {kind: [run["files"][kind]["parity"] for run in runs] for kind in FORMATS}
        accuracies = [parity["reference"]["accuracy"] for parity in parities[FORMATS[0]]]
        cells = [
            f"{max(p['drop_pp'] for p in parities[kind]):+.2f} pp, {min(p['agreement'] for p in parities[kind]):.2%}"
            for kind in FORMATS[1:]
        ]
        unknown = [[run[key] for run in runs if key in run] for key in ("familiarity_auc", "shown_auc")]
        seconds = [median(run[key] for run in runs) for key in ("train_seconds", "export_seconds")]
        bar = TASKS[name][1]
        told = (f"{median(accuracies):.4f}", f"{bar:.3f}", *cells) if bar else [""] * 4
        rows.append((
            name, len(runs), *told,
            *(f"{median(areas):.3f}" if areas else "" for areas in unknown), *(f"{value:.0f}" for value in seconds),
        ))  # fmt: skip
    header = ("task", "seeds", "accuracy", "bar", "int8 TFLite", "int8 ONNX", "unknown", "shown",
              "train s", "export s")  # fmt: skip
    machine = f"Machine: {cpu_name()}, shared with other work, so the seconds are only rough."
    return f"{machine}\n\n{table(header, rows)}"


def files(measured: Mapping[int, Sequence[dict[str, Any]]]) -> str:
    """A row for each file and engine; `measured` by `costs`, by the side of the input."""
    header = ("input", "file", "engine", "MB", *(f"ms, {n} thread{'s' * (n > 1)}" for n in THREADS), "memory MB")
    rows = []
    for side, found in measured.items():
        by_file: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for cost in found:
            by_file.setdefault((Path(cost["file"]).name, cost["engine"]), []).append(cost)
        for (file, engine), own in by_file.items():
            times = [f"{cost['latency']['best_us'] / 1e3:.1f}" for cost in own]
            memory = f"{max(cost['peak_memory_mb'] for cost in own):.0f}"
            rows.append((f"{side}x{side}", file, engine, f"{own[0]['size_bytes'] / 1e6:.1f}", *times, memory))
    return table(header, rows)


def main() -> None:
    arguments = parser(__doc__, work=ROOT / "build" / "transfer")
    arguments.add_argument("modules", type=Path)
    arguments.add_argument("--task", choices=[*TASKS, COSTS], action="append")
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    for name in options.task or (*TASKS, COSTS):
        if name == COSTS:
            for side in SIDES:
                costs(side, options.modules, options.work)
            continue
        for seed in range(options.seeds):
            run(name, seed, options.modules, options.work)
    found = {
        name: [run(name, int(path.parent.name.rpartition("-")[2]), options.modules, options.work)
               for path in sorted(options.work.glob(f"{name}-[0-9]*/result.json"))]
        for name in TASKS
    }  # fmt: skip
    measured = {side: costs(side, options.modules, options.work) for side in SIDES
                if (options.work / f"costs-{side}" / "costs.json").is_file()}  # fmt: skip
    makers = "\n".join(f"- `{name}`: {(make.__doc__ or '').strip()}" for name, (make, _) in TASKS.items())
    done = {name: runs for name, runs in found.items() if runs}
    fill_page("transfer.md", {"makers": makers, "tasks": tasks(done), "files": files(measured)})


if __name__ == "__main__":
    main()
