"""Rate and memory of `oddeven score` beside `predict_batch`, for docs/archive.md.

    python benchmarks/archive.py [IMAGES...]    # a quarter of an hour

Small JPEGs, the test images of MNIST over and over, in tar shards of 10,000. Each figure is of a whole process, from
its start to its end. The Ray cluster is up before.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from shared import fill_page, jpeg, mnist_test, table

from oddeven.runtime.archive.score import Run, write_rows
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_features, cpu_name
from oddeven.runtime.files import write

SHARD = 10_000
ROUNDS = {1_000: 3, 10_000: 3, 100_000: 3, 1_000_000: 1}  # by the number of images
HEADER = ("images", "rounds", "predict_batch/s", "score/s", "of predict_batch", "score --cluster/s", "of predict_batch",
          "predict_batch MB", "score MB", "bytes out, an image")  # fmt: skip
MANY, MACHINES, CORES, NETWORK = 10**8, 100, 4, 125e6  # the last in bytes a second, of each machine
KINDS = (("28x28", 1), ("672x672", 24))
PAPER = ("JPEG", "read", "minutes to read", "one image, one core", "minutes to predict", "blocks", "to write one",
         "minutes to write")  # fmt: skip
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
cluster = [f"--cluster={address}" for address in sys.argv[3:]]
cli.main(["score", sys.argv[1], "--out", sys.argv[2], "--model", "mlp", "--json", *cluster], standalone_mode=False)
print(peak_memory_mb())
"""


def write_shards(folder: Path, count: int, size: int = SHARD) -> None:
    """MNIST's test images over and over, as `count` small JPEGs in tar shards of `size`."""
    folder.mkdir()
    images, _ = mnist_test()
    encoded = [jpeg(pixels) for pixels in images[:count]]
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


@contextmanager
def one_node() -> Iterator[str]:
    """The address of a Ray cluster that is this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": os.cpu_count(), "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def row(count: int, cluster: str) -> tuple[str, ...]:
    """The three ways over `count` images, in turn, some rounds; the median of each."""
    with tempfile.TemporaryDirectory() as folder:
        shards, out = Path(folder) / "shards", Path(folder) / "out"
        write_shards(shards, count)
        rounds = []
        for number in range(ROUNDS.get(count, 1)):
            alone, nodes = out / f"alone{number}", out / f"nodes{number}"
            one = (measure(BATCH, shards), measure(SCORE, shards, alone), measure(SCORE, shards, nodes, cluster))
            rounds.append(np.array(one))
        size = sum(path.stat().st_size for path in alone.iterdir())
    (batch_s, batch_mb), (score_s, score_mb), (nodes_s, _) = np.median(rounds, axis=0)
    score_ratio, nodes_ratio = np.median([(r[0, 0] / r[1, 0], r[0, 0] / r[2, 0]) for r in rounds], axis=0)
    return (
        f"{count:,}", str(len(rounds)), f"{count / batch_s:,.0f}", f"{count / score_s:,.0f}", f"{score_ratio:.2f}",
        f"{count / nodes_s:,.0f}", f"{nodes_ratio:.2f}", f"{batch_mb:.0f}", f"{score_mb:.0f}", f"{size / count:.1f}",
    )  # fmt: skip


def on_paper() -> Iterator[tuple[str, ...]]:
    """What 10^8 images cost on 100 machines, from what one image and one block cost here on one core."""
    digit = mnist_test()[0][0]
    with tempfile.TemporaryDirectory() as folder, Classifier.load("mlp") as classifier:
        run = Run("mlp", "0" * 64, "")
        rows = (("shards/000000000.tar/000000000.jpg", "odd", 0.99, 0.5, None, run.model_sha256) for _ in range(SHARD))
        write_rows(Path(folder) / "part.parquet", rows)
        part = (Path(folder) / "part.parquet").read_bytes()
        write_s = best_of(lambda: write(Path(folder) / "again.parquet", part))
        for name, scale in KINDS:
            image, blocks = jpeg(np.kron(digit, np.ones((scale, scale), np.uint8))), MANY / SHARD
            image_s = best_of(partial(classifier.predict, image))
            yield (
                name,
                f"{MANY * len(image) / 1e12:.2f} TB",
                f"{MANY * len(image) / MACHINES / NETWORK / 60:.1f}",
                f"{image_s * 1e6:,.0f} us",
                f"{MANY * image_s / MACHINES / CORES / 60:.1f}",
                f"{blocks:,.0f}",
                f"{write_s * 1e3:.1f} ms",
                f"{blocks * write_s / 60:.1f}",
            )


def best_of(work: Callable[[], object], times: int = 50) -> float:
    """The least seconds of several calls, which is what other processes disturb least."""
    return min(timeit.repeat(work, number=1, repeat=times))


def main(counts: Sequence[int]) -> None:
    """Measure, and write the page's tables."""
    paper = table(PAPER, on_paper())
    with one_node() as cluster:
        rates = table(HEADER, [row(count, cluster) for count in counts])
    machine = f"{cpu_name()} ({', '.join(cpu_features())})"
    fill_page("archive.md", {"rates": f"Medians of the rounds on {machine}.\n\n{rates}", "paper": paper})


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or list(ROUNDS))
