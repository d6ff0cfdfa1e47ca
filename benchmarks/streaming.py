"""Images a second that the input pipeline gives, from the decoded file on disk and from memory, and the memory used.

    python benchmarks/streaming.py

Each line is a process of its own, which reads shuffled batches of 256 images of 64x64 RGB for two epochs, with and
without the photo augmentation. Memory is what the process holds apart from the file's own pages, which the system takes
back when it needs them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS
from pathlib import Path

import numpy as np
from shared import parser, table

from oddeven.runtime.spec import InputSpec
from oddeven.train.data.augment import PHOTO
from oddeven.train.data.dataset import Split
from oddeven.train.data.input_pipeline import training_batches

SPEC = InputSpec(64, 64, 3)
BATCH, EPOCHS, STRETCH = 256, 2, 10_000


def measure(path: Path, kept: str, augmentation: str) -> str:
    """Images a second, CPU cores busy, and anonymous memory in MB, as one line."""
    images = np.load(path, mmap_mode="r")
    if kept == "memory":
        images = np.array(images)
    count = len(images)
    split = Split(images, np.zeros(count, np.uint8), np.zeros(count, np.str_), np.arange(count))
    batches = training_batches(split, SPEC, BATCH, PHOTO if augmentation == "photo" else None, 0, range(EPOCHS))
    for _ in batches.take(8):
        pass
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in batches:
        pass
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    memory_mb = int(status.split("RssAnon:")[1].split()[0]) / 1024
    return f"{EPOCHS * count / wall:,.0f} {cpu / wall:.1f} {memory_mb:,.0f}"


def main(count: int) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SPEC.shape))
        random = np.random.default_rng(0)
        for start in range(0, count, STRETCH):
            images[start : start + STRETCH] = random.integers(0, 256, images[start : start + STRETCH].shape, np.uint8)
        images.flush()
        for augmentation in ("none", "photo"):
            for kept in ("disk", "memory"):
                command = [sys.executable, __file__, "--measure", str(path), kept, augmentation]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                rows.append((kept, augmentation, *done.stdout.split()))
    print(f"{count:,} images of {SPEC.height}x{SPEC.width} RGB, {count * np.prod(SPEC.shape) / 1e6:,.0f} MB\n")
    print(table(("kept in", "augment", "images/s", "cores busy", "memory MB"), rows))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, default=40_000)
    arguments.add_argument("--measure", nargs=3, help=SUPPRESS)
    options = arguments.parse_args()
    if options.measure:
        print(measure(Path(options.measure[0]), *options.measure[1:]))
    else:
        main(options.count)
