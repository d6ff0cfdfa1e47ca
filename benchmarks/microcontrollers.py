"""Run the C of int8 models on emulated Cortex-M cores; write the tables and the plot of docs/microcontrollers.md.

    python benchmarks/microcontrollers.py [FILE.int8.tflite]...

Without files, the bundled models and tests/data/tiny.int8.tflite. Four minutes; needs gcc,
Debian's gcc-arm-none-eabi and qemu-system-arm, and `pip install 'oddeven[micro]'`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from emulation import CORES, Answers, Run, both_roundings, emulate, expected_answers
from shared import DOCS, ROOT, alternate, fill_page, mnist_test, table

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_features, cpu_name
from oddeven.runtime.parity.statistics import share_limits

TINY = ROOT / "tests" / "data" / "tiny.int8.tflite"
DIFFERENT = ROOT / "tests" / "data" / "roundings.json"  # of each model, the test images for which the roundings differ
TURNS, CALLS = 40, 100
# Board -> core, MHz, kB of flash, kB of RAM, by its data sheet.
BOARDS = {
    "Raspberry Pi Pico (RP2040)": ("M0+", 133, 2048, 264),
    "STM32F103C8 (Blue Pill)": ("M3", 72, 64, 20),
    "STM32F411 (Black Pill)": ("M4", 100, 512, 128),
    "Arduino Nano 33 BLE (nRF52840)": ("M4", 64, 1024, 256),
}


@dataclass(frozen=True)
class Model:
    """A model's cost and worth: its int8 file in bytes, LiteRT's time here, its accuracy, and its runs by core.

    And its probabilities of the test images by both roundings.
    """

    size_bytes: int
    latency_us: float
    double: Answers
    single: Answers
    right: int
    count: int
    runs: Mapping[str, Run]

    @property
    def accuracy(self) -> float:
        """On the test images."""
        return self.right / self.count

    @property
    def costs(self) -> tuple[float, ...]:
        """What there is to weigh against each other: errors, bytes, time here and on a Cortex-M4."""
        return -self.right, self.size_bytes, self.latency_us, self.runs["M4"].instructions


def on_front(model: Model, models: Iterable[Model]) -> bool:
    """Whether no other model is at most as costly in everything and less in something."""
    costs = [other.costs for other in models if other.costs != model.costs]
    return not any(all(a <= b for a, b in zip(other, model.costs, strict=True)) for other in costs)


def latencies(paths: Sequence[Path]) -> list[float]:
    """Microseconds that LiteRT takes for one image here, the best of many turns that the files take in one process."""
    image = mnist_test()[0][0]
    with ExitStack() as stack:
        classifiers = {str(path): stack.enter_context(Classifier.load(path, "litert")) for path in paths}
        calls = {name: partial(classifier.predict, image) for name, classifier in classifiers.items()}
        return [float(times.mean(axis=1).min()) for times in alternate(calls, TURNS, CALLS).values()]


def measured(path: Path, latency_us: float) -> Model:
    """The file `path` on every emulated core."""
    digits, shown = mnist_test()
    images, labels = digits[..., None], shown % 2
    with Classifier.load(path, "litert") as classifier:
        right = int(np.sum((classifier.probabilities(images) > classifier.spec.threshold) == labels))
    expected, runs = expected_answers(path, images[:2]), {}
    for core in CORES:
        with tempfile.TemporaryDirectory() as folder:
            runs[core] = run = emulate(path, images[:2], expected, core, Path(folder), counted=True)
        if run.exit_code:
            sys.exit(f"{path} on {core}: {run}")
    with tempfile.TemporaryDirectory() as folder:
        double, single = both_roundings(path, images, Path(folder))
    return Model(path.stat().st_size, latency_us, double, single, right, len(images), runs)


def roundings(models: Mapping[str, Model]) -> str:
    """For how many test images the two roundings give another byte, by how much, and another label."""
    rows = []
    for name, model in models.items():
        off = np.abs(model.double.astype(int) - model.single)
        rows.append((name, np.sum(off > 0), f"{off.max()}/256", np.sum((model.double > 128) != (model.single > 128))))
    return table(("model", "another byte", "by at most", "another prediction"), rows)


def cores(models: Mapping[str, Model]) -> str:
    """What each model takes on each core."""
    header = ("model", "core", "flash, bytes", "static RAM, bytes", "stack, bytes", "million instructions an image")
    rows = [
        (name, core, f"{run.flash:,}", f"{run.ram:,}", run.stack, f"{run.instructions / 1e6:.2f}")
        for name, model in models.items()
        for core, run in model.runs.items()
    ]
    return table(header, rows)


def boards(models: Mapping[str, Model]) -> str:
    """Milliseconds an image on named boards."""
    rows = [
        (f"{board}, {core}, {mhz} MHz", *(_fits(model.runs[core], mhz, flash, ram) for model in models.values()))
        for board, (core, mhz, flash, ram) in BOARDS.items()
    ]
    return table(("board", *(f"{name}, ms" for name in models)), rows)


def _fits(run: Run, mhz: int, flash_kb: int, ram_kb: int) -> str:
    """Milliseconds at one to two cycles an instruction, if it fits."""
    if run.flash > flash_kb << 10 or run.ram + run.stack > ram_kb << 10:
        return "does not fit"
    least = run.instructions / mhz / 1000
    return f"{least:.0f} to {2 * least:.0f}"


def front(models: Mapping[str, Model]) -> str:
    """Size, time and accuracy, and which models no other beats in all of them."""
    header = ("model", "int8 `.tflite`, bytes", "LiteRT here, us", "flash, bytes", "RAM, bytes",
              "M4, million instructions", "test accuracy (95 %)", "front")  # fmt: skip
    rows = []
    for name, model in models.items():
        low, high = share_limits(model.right, model.count, 0.975)
        run = model.runs["M4"]
        rows.append((name, f"{model.size_bytes:,}", f"{model.latency_us:.1f}", f"{run.flash:,}", f"{run.ram:,}",
                     f"{run.instructions / 1e6:.2f}", f"{model.accuracy:.4f} ({low:.4f} to {high:.4f})",
                     "yes" if on_front(model, models.values()) else ""))  # fmt: skip
    return table(header, rows)


def plot(models: Mapping[str, Model]) -> None:
    """Accuracy against size and time; models on the front are filled."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure((10.5, 3.8), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    costs = [(m.size_bytes / 1e3, m.latency_us, m.runs["M4"].instructions / 1e6) for m in models.values()]
    middle = [sorted(column)[len(column) // 2] for column in zip(*costs, strict=True)]
    for (name, model), xs in zip(models.items(), costs, strict=True):
        low, high = (100 * limit for limit in share_limits(model.right, model.count, 0.975))
        y, fill = 100 * model.accuracy, "#00538a" if on_front(model, models.values()) else "w"
        for axes, x, least in zip(panels, xs, middle, strict=True):
            axes.errorbar(x, y, [[y - low], [high - y]], fmt="o", color="#00538a", capsize=3, mfc=fill)
            side, offset = ("left", 6) if x >= least else ("right", -6)
            box = {"fc": "w", "ec": "none", "pad": 0.8}  # over another model's bar
            axes.annotate(name, (x, y), xytext=(offset, 0), textcoords="offset points", ha=side, va="center", bbox=box)
    titles = ("int8 .tflite file, kB", "LiteRT on a desktop, us an image", "Cortex-M4, million instructions an image")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xscale="log", xlabel=title)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.5, y=0.08)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy, %")
    figure.savefig(DOCS / "images" / "microcontrollers.png", dpi=110)


def main() -> None:
    """Measure, and write the page's tables, its plot, and for the tests the images for which the roundings differ."""
    paths = [Path(name) for name in sys.argv[1:]] or [TINY, *bundled().values()]
    times = latencies(paths)
    models = {path.name.partition(".")[0]: measured(path, us) for path, us in zip(paths, times, strict=True)}
    texts = {part.__name__: part(models) for part in (front, roundings, cores, boards)}
    texts["machine"] = f"Measured on {cpu_name()} ({', '.join(cpu_features())}); the models took turns."
    fill_page("microcontrollers.md", texts)
    plot(models)
    different = {name: np.flatnonzero(model.double != model.single).tolist() for name, model in models.items()}
    DIFFERENT.write_text(json.dumps(different) + "\n")


if __name__ == "__main__":
    main()
