"""The predictions for an archive, as Parquet: one file for each block, whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from oddeven.runtime.archive.blocks import RUN, Block, part_name
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.errors import DataError, UsageError, reason
from oddeven.runtime.files import replacing, write
from oddeven.runtime.images.parallel import FILES
from oddeven.runtime.prediction import Prediction, writable
from oddeven.runtime.schema import from_json, to_json

ROWS = 10_000  # in memory, and in a row group
BINS = 10  # of the histogram of probabilities
Row = tuple[str, str | None, float | None, float | None, str | None, str]


@dataclass(frozen=True)
class Run:
    """What made the predictions in a folder; a folder has one."""

    model: str
    model_sha256: str
    settings: str


@dataclass(frozen=True)
class Summary:
    """What the predictions in a folder add up to.

    Attributes:
        labels: how many images have each label.
        unreadable: images that have a reason instead of a label.
        histogram: how many probabilities lie in each tenth of 0 to 1.
    """

    images: int
    labels: dict[str, int]
    unreadable: int
    histogram: tuple[int, ...]


def check_run(folder: Path, run: Run) -> None:
    """Note in `folder` what makes its predictions, or make sure that it is the same as before.

    Raises:
        UsageError: it is not.
    """
    note = folder / RUN
    if not note.exists():
        if any(folder.glob("part-*.parquet")):
            raise UsageError(f"{folder} holds Parquet files of another program; name another --out.")
        write(note, to_json(run))
        return
    before = from_json(Run, note.read_bytes(), str(note))
    if before != run:
        raise UsageError(
            f"{folder} holds predictions of {before.model} ({before.model_sha256[:8]}, {before.settings}), not of "
            f"{run.model} ({run.model_sha256[:8]}, {run.settings}); name another --out."
        )


def missing(blocks: Sequence[Block], folder: Path) -> list[Block]:
    """Those of `blocks` whose predictions `folder` does not hold yet, each once."""
    parts = {folder / part_name(block): block for block in blocks}
    return [block for part, block in parts.items() if not part.exists()]


def score(classifier: Classifier, blocks: Sequence[Block], folder: Path, run: Run, done: Callable[[int], None]) -> None:
    """Write the predictions of `blocks`, with all cores of this machine.

    Args:
        done: is told the number of images after each block.

    Raises:
        OutputError: the folder cannot be written.
    """
    images = (((block, key), image) for block in blocks for key, image in block.items())
    for block, scored in groupby(classifier.predict_named(images), key=lambda named: named[0][0]):
        with replacing(folder / part_name(block)) as partial:
            count = write_rows(partial, (_row(key, outcome, run) for (_, key), outcome in scored))
        done(count)


def rows_of(block: Block, classifier: Classifier, run: Run) -> Iterator[Row]:
    """The rows of one block, predicted in this process alone: of a single chunk, `predict_batch` shares out nothing."""
    items = block.items()
    while chunk := list(islice(items, FILES)):
        outcomes = classifier.predict_batch([image for _, image in chunk], errors="return")
        yield from (_row(key, outcome, run) for (key, _), outcome in zip(chunk, outcomes, strict=True))


def write_rows(file: Path | IO[bytes], rows: Iterator[Row]) -> int:
    """Write `rows` as a Parquet file; gives their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float32()
    fields = {"label": text, "probability": number, "familiarity": number, "error": text, "model_sha256": text}
    schema = pa.schema({"key": text, **fields})
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        while rows_now := list(islice(rows, ROWS)):
            columns = [
                (_reals if kind == number else _texts)(column)
                for kind, column in zip(schema.types, zip(*rows_now, strict=True), strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(rows_now)
    return count


def uncounted(folder: Path, blocks: Sequence[Block]) -> list[str]:
    """The files of predictions in `folder` that are for none of `blocks`: of a source as it was, or of another."""
    return sorted({path.name for path in folder.glob("part-*.parquet")} - set(map(part_name, blocks)))


def summarise(folder: Path, blocks: Sequence[Block]) -> Summary:
    """Count what the predictions of `blocks` in `folder` add up to.

    Raises:
        DataError: a file of predictions is damaged.
    """
    import pyarrow.parquet as pq
    from pyarrow.lib import ArrowException

    labels: Counter[str | None] = Counter()
    histogram = np.zeros(BINS, np.int64)
    for path in {folder / part_name(block): None for block in blocks}:
        if not path.exists():
            continue  # no image is in the block
        try:
            table = pq.ParquetFile(path).read(["label", "probability"])
            counted = table["label"].value_counts().to_pylist()
            known = table["probability"].drop_null().combine_chunks()
        except (OSError, ValueError, KeyError, ArrowException) as error:
            raise DataError(f"{path} is damaged ({reason(error)}); remove it, and its block is scored anew.") from error
        labels.update({entry["values"]: entry["counts"] for entry in counted})
        histogram += np.histogram(np.from_dlpack(known), BINS, (0.0, 1.0))[0]
    unreadable = labels.pop(None, 0)
    named = {str(label): count for label, count in labels.most_common()}
    return Summary(sum(named.values()) + unreadable, named, unreadable, tuple(histogram.tolist()))


# Where pandas is installed, `pa.array`, `to_numpy` and `pq.read_table` import it, which takes as long as thousands of
# images.
def _texts(column: Sequence[str | None]) -> Any:
    import pyarrow as pa

    builder = pa.lib.StringBuilder()
    builder.append_values(column)
    return builder.finish()


def _reals(column: Sequence[float | None]) -> Any:
    """An Arrow array of float32."""
    import pyarrow as pa

    known = np.packbits([value is not None for value in column], bitorder="little")
    values = np.array([value or 0.0 for value in column], np.float32)
    return pa.Array.from_buffers(pa.float32(), len(column), [pa.py_buffer(known), pa.py_buffer(values)])


def _row(key: str, outcome: Prediction | DataError, run: Run) -> Row:
    """A row of the schema in `write_rows`."""
    if isinstance(outcome, DataError):
        return writable(key), None, None, None, writable(str(outcome)), run.model_sha256
    why = outcome.reason or None
    return writable(key), outcome.label, outcome.probability, outcome.familiarity, why, run.model_sha256
