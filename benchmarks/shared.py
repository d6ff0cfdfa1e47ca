"""What the benchmarks share: models and images, taking turns, the options for folders, and the pages that they fill."""

from __future__ import annotations

import io
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from PIL import Image

from oddeven.runtime.arrays import Labels, Pixels
from oddeven.runtime.table import render

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MODELS = ("mlp", "cnn", "deep_cnn")
Call = Callable[[], object]


def mnist_test() -> tuple[Pixels, Labels]:
    """MNIST's test images, uint8 (10000, 28, 28), and their digits."""
    with np.load(ROOT / "train" / "data" / "mnist.npz") as file:
        return file["x_test"], file["y_test"]


def jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """A JPEG file of `pixels`, uint8 (H, W) or (H, W, 3)."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return content.getvalue()


def alternate(contenders: Mapping[str, Call], turns: int, calls: int) -> dict[str, np.ndarray]:
    """Microseconds of each single call, (turns, calls).

    The contenders take turns, in an order that turns round each time, so that whatever else the machine does slows them
    alike.
    """
    times = {name: np.empty((turns, calls)) for name in contenders}
    for call in contenders.values():
        call()
    names = list(contenders)
    for turn in range(turns):
        for name in names:
            for number in range(calls):
                start = time.perf_counter_ns()
                contenders[name]()
                times[name][turn, number] = (time.perf_counter_ns() - start) / 1000
        names.reverse()
    return times


def parser(description: str | None, **paths: Path) -> ArgumentParser:
    """A command line with an option for each of `paths`, which are the defaults."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    for name, default in paths.items():
        made.add_argument(f"--{name}", type=Path, default=default)
    return made


def versions(packages: Iterable[str]) -> str:
    """Those of `packages` that are installed, with their versions."""
    found = []
    for name in packages:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for a page."""
    return render(header, list(rows), markdown=True)


def fill_page(name: str, texts: Mapping[str, str]) -> None:
    """Put each text between `<!-- NAME: by benchmarks/... -->` and `<!-- end of NAME -->` in docs/`name`, by its name.

    Raises:
        ValueError: the page lacks a mark.
    """
    page = DOCS / name
    content = page.read_text()
    for place, text in texts.items():
        begin = content.index("\n", content.index(f"<!-- {place}: by benchmarks/")) + 1
        content = content[:begin] + text + content[content.index(f"\n<!-- end of {place} -->", begin - 1) :]
    page.write_text(content)
