"""Let every engine answer in every emulated Raspberry Pi userland and on every emulated CPU; write docs/devices.md.

python benchmarks/devices.py --artifacts artifacts
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from shared import DOCS, MODELS, ROOT, parser, table

from oddeven.runtime.artifacts.reference import REFERENCE, Reference, load_reference, save_reference
from oddeven.runtime.device.host_info import cpu_features, cpu_name

EMULATE = ROOT / "tests" / "device" / "emulate.sh"
ANSWERS = ROOT / "tests" / "device" / "answers.py"
Answers = npt.NDArray[np.float32]
COUNT, FEW, ON_CPU = 1000, 200, 2000
UNBUILT = 4  # exit code of emulate.sh
HALF, INT8 = 0.5, "*.int8.*"


@dataclass(frozen=True)
class Place:
    """Where engines run; `suite` is None for this machine, or, with `cpu`, for its Python on an emulated x86-64."""

    name: str
    engines: tuple[str, ...]
    suite: str | None = None
    arch: str = "arm64"
    packages: str = "default"
    cpu: str = ""


PLACES = (
    Place("x86-64", ("litert", "onnxruntime")),
    Place("x86-64, NumPy 1", ("tflite-runtime",), packages="tflite"),
    Place("bookworm arm64", ("litert", "onnxruntime"), "bookworm"),
    Place("bookworm arm64, NumPy 1", ("tflite-runtime",), "bookworm", packages="tflite"),
    Place("trixie arm64", ("litert", "onnxruntime"), "trixie"),
    Place("bookworm armhf", ("tflite-runtime",), "bookworm", "armhf"),
    Place("trixie armhf", ("onnxruntime",), "trixie", "armhf"),
)
ENGINES = ("litert", "onnxruntime")
CPUS = (
    Place("x86-64 with SSE only (Nehalem)", ENGINES, cpu="Nehalem"),
    Place("x86-64 with AVX2 (Haswell)", ENGINES, cpu="Haswell"),
    Place("arm64 (cortex-a72)", ENGINES, "bookworm", cpu="cortex-a72"),
    Place("arm64 with dot product (cortex-a76)", ENGINES, "bookworm", cpu="cortex-a76"),
)
AVAILABLE = (
    ("64-bit bookworm", "3.11", "LiteRT or tflite-runtime", "onnxruntime"),
    ("64-bit trixie", "3.13", "LiteRT", "onnxruntime"),
    ("32-bit bookworm", "3.11", "tflite-runtime, with Debian's NumPy and Pillow", "none"),
    ("32-bit trixie", "3.13", "none; the runtime says so", "Debian's python3-onnxruntime"),
)
NOTE = """Float files may differ by the order of a sum's terms. Eight-bit files of one engine give the same bits
on every architecture, where it is of one version; LiteRT and tflite-runtime round differently, and so does Debian's
older onnxruntime of 32 bits, so a few of their outputs are a step apart."""


def measure(place: Place, engine: str, out: Path, *folders: Path) -> dict[str, float] | None:
    """Run `answers.py` there; its answers go to `out`, what it cost is returned; None where Debian's mirror fails."""
    arguments = [str(ANSWERS), str(out), engine, str(FEW), *map(str, folders)]
    environment = dict(os.environ)
    if place.suite:
        where = ["--suite", place.suite, "--arch", place.arch, "--engines", place.packages]
        where += ["--cpu", place.cpu] if place.cpu else []
        command = [str(EMULATE), *where, "--", "python", *arguments]
    else:
        command = [*(["qemu-x86_64-static", "-cpu", place.cpu] if place.cpu else []), sys.executable, *arguments]
        if place.packages == "tflite":
            environment["PYTHONPATH"] = f"{ROOT / 'runtime'}:{_old_packages()}"
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment)
    if place.suite and done.returncode == UNBUILT:
        return None
    done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def asked(
    places: Iterable[Place], folders: Callable[[Place], Sequence[Path]]
) -> Iterator[tuple[Place, str, dict[str, float], dict[str, Answers]]]:
    """Each engine of `places`, what it cost and its answers; without the places for which Debian's mirror fails."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "answers.npz")
        for place in places:
            for engine in place.engines:
                cost = measure(place, engine, out, *folders(place))
                if cost is None:
                    print(f"left out: {place.name}", file=sys.stderr)
                    continue
                with np.load(out) as file:
                    yield place, engine, cost, dict(file)


def _first(folder: Path, scratch: Path, count: int = COUNT, files: str = "*") -> Path:
    """The artifact folder with fewer reference images, and of its `files` alone: emulation is slow."""
    few = scratch / folder.name
    few.mkdir(parents=True)
    for path in (*folder.glob(files), folder / REFERENCE):
        shutil.copy(path, few)
    whole = load_reference(folder / REFERENCE)
    first = {name: array[:count] for name, array in vars(whole).items()}
    save_reference(Reference(**first), few / REFERENCE)
    return few


def on_cpus(folders: list[Path]) -> Iterator[tuple[str, ...]]:
    """A row for each CPU and int8 file: how it compares with Keras, and with this machine."""
    known = {folder.name: load_reference(folder / REFERENCE) for folder in folders}
    here: dict[str, Answers] = {}
    with tempfile.TemporaryDirectory() as scratch:
        whole = [_first(folder, Path(scratch, "whole"), len(known[folder.name].truth), INT8) for folder in folders]
        few = [_first(folder, Path(scratch, "few"), ON_CPU, INT8) for folder in folders]
        places = (Place("this machine", ENGINES), *CPUS)
        for place, _, _, found in asked(places, lambda place: few if place.cpu else whole):
            here = found | here
            for name, p in sorted(found.items()):
                truth = known[name.split(".")[0]]
                keras, labels = truth.probabilities[: len(p)] > HALF, truth.truth[: len(p)] == 1
                drop = ((keras == labels).mean() - ((p > HALF) == labels).mean()) * 100
                yield (
                    place.name, name, f"{len(p):,}", f"{((p > HALF) == keras).mean():.2%}", f"{drop:+.2f}",
                    f"{np.abs(p - here[name][: len(p)]).max():.1e}",
                )  # fmt: skip


def _old_packages() -> Path:
    site = ROOT / "build" / "tflite-runtime"
    if not site.is_dir():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)]
        subprocess.run([*install, "tflite-runtime==2.14.0", "numpy<2", "pillow", "click"], check=True)
    return site


def page(artifacts: Path) -> str:
    """docs/devices.md as text."""
    folder = artifacts / "cnn"
    keras = load_reference(folder / REFERENCE).probabilities
    costs: list[tuple[str, ...]] = []
    answers: dict[tuple[str, str, str], Answers] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = _first(folder, Path(scratch))
        for place, engine, cost, found in asked(PLACES, lambda _: [folder]):
            mark = " (emulated)" if place.suite else ""
            costs.append(
                (place.name, f"{engine} {cost['version']}", f"{cost['installed_mb']:.0f}",
                 f"{cost['import_s']:.2f}{mark}", f"{cost['peak_mb']:.0f}{mark}")
            )  # fmt: skip
            answers |= {(file, engine, place.name): p for file, p in found.items()}
    features = ", ".join(cpu_features())
    return "\n\n".join([
        "# What runs where, and whether it predicts alike",
        f"Made by `python benchmarks/devices.py` with the {folder.name} on: {cpu_name()}. Debian's own userlands of a "
        "Raspberry Pi run under emulation (`tests/device/emulate.sh`), which shows what is predicted, not how fast.",
        "## What runs where",
        table(("Raspberry Pi OS", "Python", ".tflite", ".onnx"), AVAILABLE),
        "## Disagreements",
        "Changed predictions out of N, and the largest difference in probability: to the same engine on x86-64, to "
        "LiteRT or onnxruntime on x86-64, and to Keras. " + NOTE.replace("\n", " "),
        table(("file", "engine", "where", "N", "same engine", "first engine", "Keras"), compared(answers, keras)),
        "## The same predictions on every CPU",
        f"The int8 files of the shipped models against Keras: all test images on this machine ({features}), the first "
        f"{ON_CPU:,} under emulation. Difference: the largest in probability to this machine. A `.tflite` file is made "
        "of integers throughout and gives the same bits everywhere. An `.onnx` file has a last layer in float32, whose "
        "sums are rounded in another order on another CPU.",
        table(("CPU", "file", "N", "agreement", "drop pp", "difference"),
              on_cpus([artifacts / name for name in MODELS])),
        "## What it costs",
        "Installed: NumPy, Pillow, click and the engine, in MB. Import: NumPy and the engine, in seconds. Peak memory: "
        f"in MB, after {FEW:,} or {COUNT:,} answers of every file. An emulated row includes the emulator's own.",
        table(("where", "engine", "installed MB", "import s", "peak MB"), costs),
    ]) + "\n"  # fmt: skip


def compared(answers: dict[tuple[str, str, str], Answers], keras: Answers) -> Iterator[tuple[str, ...]]:
    """A row for each file, engine and place."""
    for (file, engine, place), found in sorted(answers.items()):
        home = next(p.name for p in PLACES if engine in p.engines)
        first = "onnxruntime" if file.endswith(".onnx") else "litert"
        others = (answers[file, engine, home], answers.get((file, first, PLACES[0].name)), keras)
        yield file, engine, place, f"{len(found):,}", *(_against(found, other) for other in others)


def _against(found: Answers, other: Answers | None) -> str:
    if other is None:
        return "-"
    count = min(len(found), len(other))
    found, other = found[:count], other[:count]
    changed = np.count_nonzero((found >= HALF) != (other >= HALF))
    return f"{changed}, {np.abs(found - other).max():.1e}"


if __name__ == "__main__":
    options = parser(__doc__, artifacts=ROOT / "artifacts", out=DOCS / "devices.md").parse_args()
    options.out.write_text(page(options.artifacts))
