"""Reports of several machines as one matrix: how many predictions differ between any two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.errors import DataError
from oddeven.runtime.table import render
from oddeven.runtime.verify.baseline import unpack_predictions
from oddeven.runtime.verify.recommendation import titles
from oddeven.runtime.verify.render.markdown import escape
from oddeven.runtime.verify.report import FileReport, Report

TITLE = "Disagreements"
NOTE = (
    "How many predictions differ between two runs of a model on the same images. Unknown is a prediction too, where "
    "all runs of the model tell it."
)


@dataclass(frozen=True)
class Matrix:
    """One model on several machines, engines and formats.

    Attributes:
        names: of the runs: machine, engine and format.
        differing: int (N, N), images that two runs predict differently.
        count: images.
    """

    model: str
    names: tuple[str, ...]
    differing: npt.NDArray[np.int64]
    count: int

    @property
    def most(self) -> int:
        """The largest number of differing predictions, at least 1."""
        return max(1, int(self.differing.max()))

    @property
    def rows(self) -> list[tuple[str, list[int]]]:
        """Each run's numbered name and its differences; the columns are numbered as the rows are."""
        return [
            (f"{number}: {name}", row.tolist())
            for number, (name, row) in enumerate(zip(self.names, self.differing, strict=True), start=1)
        ]


def merge_reports(reports: Mapping[str, Report]) -> list[Matrix]:
    """A matrix for each model.

    Args:
        reports: by the name to show each machine's by.

    Raises:
        DataError: two reports tested a model on different images, or no report holds a file.
    """
    runs: dict[str, list[tuple[str, FileReport]]] = {}
    for name, report in reports.items():
        for model, file in zip(titles(report.files), report.files, strict=True):
            runs.setdefault(model, []).append((name, file))
    if not runs:
        raise DataError("The reports hold no file, so there is nothing to merge.")
    return [_matrix(model, own) for model, own in runs.items()]


def matrices_to_markdown(matrices: Sequence[Matrix]) -> str:
    """A table for each model."""
    parts = [f"# {TITLE}\n\n{NOTE}\n"]
    for matrix in matrices:
        header = ("run", *range(1, len(matrix.names) + 1))
        rows = [(escape(name), *row) for name, row in matrix.rows]
        parts.append(f"## {escape(matrix.model)}, {matrix.count:,} images\n")
        parts.append(render(tuple(map(str, header)), rows, markdown=True) + "\n")
    return "\n".join(parts)


def _matrix(model: str, runs: list[tuple[str, FileReport]]) -> Matrix:
    first_name, first = runs[0]
    for name, file in runs:
        if file.data_sha256 != first.data_sha256:
            raise DataError(
                f"{first_name} and {name} tested {model} on different images; verify with the same reference."
            )
    predictions = unpack_predictions([file for _, file in runs])
    differing = (predictions[:, None] != predictions[None]).sum(axis=2)
    return Matrix(
        model, tuple(f"{name}, {file.engine}, {file.format}" for name, file in runs), differing, first.parity.count
    )
