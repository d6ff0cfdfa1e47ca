"""An archive scored on the nodes of a Ray cluster: a task for each block, whose Parquet file comes back as bytes."""

from __future__ import annotations

import io
import logging
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oddeven.runtime.archive.blocks import Block, part_name
from oddeven.runtime.archive.score import Run, rows_of, write_rows
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.errors import DataError, OddEvenError, UsageError, extra, needing
from oddeven.runtime.files import write

AHEAD = 2  # tasks for each core: one at work and one that waits
ANSWER_S = 5.0


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a Ray cluster. What it prints, such as that a node died, goes to stderr.

    Args:
        address: its head's HOST:PORT, or `auto` for the one that this machine is a node of, which it must be.

    Raises:
        MissingPackageError: Ray is not installed.
        UsageError: no cluster answers there.
    """
    with needing("--cluster", extra("cluster")):
        import ray
    try:
        if address != "auto":  # Ray itself would wait for minutes, and then end this process
            head = urlsplit(f"//{address}")
            socket.create_connection((head.hostname, head.port or 0), ANSWER_S).close()
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Ray cluster answers at {address} ({error}); start its head with ray start --head and name the address "
            "that this prints."
        ) from error
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()


def score_on_cluster(
    model: Path,
    options: Mapping[str, Any],
    blocks: Sequence[Block],
    folder: Path,
    run: Run,
    done: Callable[[int], None],
) -> None:
    """Write the predictions of `blocks`, as `score` does, with all cores of the cluster that is connected.

    The nodes read the blocks. Model and predictions travel over Ray, so `folder` may be this machine's own. What a node
    had begun when it died is done again by another.

    Args:
        model: its file.
        options: of `Classifier.load`.
        done: is told the number of images after each block.

    Raises:
        DataError: a node does not see a block, or a block ends its process time after time.
        OutputError: the folder cannot be written.
    """
    import ray

    task = ray.remote(_part)
    content = ray.put(model.read_bytes())
    waiting, pending = iter(blocks), dict[Any, Block]()
    while True:
        cores = max(1, int(ray.cluster_resources().get("CPU", 0)))  # of the nodes that are alive
        for block in islice(waiting, max(0, AHEAD * cores - len(pending))):
            pending[task.remote(block, model.name, content, options, run)] = block
        if not pending:
            return
        (ready,), _ = ray.wait(list(pending))
        block = pending.pop(ready)
        try:
            part, count = ray.get(ready)
        except ray.exceptions.RayError as error:
            raise _reason(error, block) from error
        write(folder / part_name(block), part)
        done(count)


def _part(block: Block, name: str, model: bytes, options: Mapping[str, Any], run: Run) -> tuple[bytes, int]:
    """The Parquet file of the block's predictions, and their number; runs on a node."""
    if block.is_local and not Path(block.paths[0]).exists():
        raise DataError(
            f"{block.paths[0]} is not there on {socket.gethostname()}; name the archive by a URL, or by a folder that "
            "every node of the cluster has."
        )
    part = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(model)
        with Classifier.load(path, **options) as classifier:
            count = write_rows(part, rows_of(block, classifier, run))
    return part.getvalue(), count


def _reason(error: Any, block: Block) -> OddEvenError:
    """Ours, where the task raised one of ours."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, OddEvenError):
        return cause
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return DataError(f"The cluster cannot score {block.name}: {last:.300}")
