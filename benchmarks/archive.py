"""Rate and memory of `oddeven score` beside `predict_batch`: `python benchmarks/archive.py [IMAGES...]`.

Small JPEGs, the test images of MNIST over and over, in tar shards of 10,000. Each line is a process of its own.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from oddeven.runtime.table import render

MNIST = Path(__file__).parents[1] / "train" / "data" / "mnist.npz"
SHARD = 10_000
IMAGES = (1_000, 10_000, 100_000)
BATCH = """
import sys, tarfile
from pathlib import Path
from oddeven.runtime import Classifier
from oddeven.runtime.device.host_info import peak_memory_mb
def contents():
    for path in sorted(Path(sys.argv[1]).iterdir()):
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                yield archive.extractfile(member).read()
with Classifier.load("mlp") as classifier:
    assert sum(1 for _ in classifier.predict_batch(contents()))
print(peak_memory_mb())
"""
SCORE = """
import sys
from oddeven.runtime.cli.main import cli
from oddeven.runtime.device.host_info import peak_memory_mb
cli.main(["score", sys.argv[1], "--out", sys.argv[2], "--model", "mlp", "--json"], standalone_mode=False)
print(peak_memory_mb())
"""


def write_shards(folder: Path, count: int, size: int = SHARD) -> None:
    """MNIST's test images over and over, as `count` small JPEGs in tar shards of `size`."""
    folder.mkdir()
    with np.load(MNIST) as file:
        images = file["x_test"]
    encoded = []
    for pixels in images[:count]:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=90)
        encoded.append(content.getvalue())
    for start in range(0, count, size):
        with tarfile.open(folder / f"{start:09}.tar", "w") as archive:
            for number in range(start, min(count, start + size)):
                entry, image = tarfile.TarInfo(f"{number:09}.jpg"), encoded[number % len(encoded)]
                entry.size = len(image)
                archive.addfile(entry, io.BytesIO(image))


def measure(code: str, *arguments: object) -> tuple[float, float]:
    """Seconds, and peak memory in MB, of a process that runs `code`."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def main(counts: Sequence[int]) -> None:
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            shards = Path(folder) / "shards"
            write_shards(shards, count)
            batch_s, batch_mb = measure(BATCH, shards)
            score_s, score_mb = measure(SCORE, shards, Path(folder) / "out")
            size = sum(path.stat().st_size for path in (Path(folder) / "out").iterdir())
        rows.append((f"{count:,}", f"{count / batch_s:,.0f}", f"{count / score_s:,.0f}", f"{batch_s / score_s:.2f}",
                     f"{batch_mb:.0f}", f"{score_mb:.0f}", f"{size / count:.1f}"))  # fmt: skip
    header = ("images", "predict_batch/s", "score/s", "ratio", "predict_batch MB", "score MB", "bytes an image")
    sys.stdout.write(f"{render(header, rows, markdown=True)}\n")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or IMAGES)
