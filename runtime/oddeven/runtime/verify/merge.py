"""Reports of several machines as one matrix: how many answers differ between any two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oddeven.runtime.errors import DataError
from oddeven.runtime.markup import Html, fill, grid, page, section
from oddeven.runtime.table import render
from oddeven.runtime.verify.baseline import unpack_predictions
from oddeven.runtime.verify.recommendation import titles
from oddeven.runtime.verify.report import FileReport, Report

TITLE = "Disagreements"
NOTE = "How many answers differ between two runs of a model on the same pictures."


@dataclass(frozen=True)
class Matrix:
    """One model on several machines, engines and formats.

    Attributes:
        names: of the runs: machine, engine and format.
        differing: int (N, N), pictures that two runs answer differently.
        count: pictures.
    """

    model: str
    names: tuple[str, ...]
    differing: npt.NDArray[np.int64]
    count: int


def merge_reports(reports: Mapping[str, Report]) -> list[Matrix]:
    """A matrix for each model.

    Args:
        reports: by the name to show each machine's by.

    Raises:
        DataError: two reports asked a model about different pictures, or there is no file in any.
    """
    runs: dict[str, list[tuple[str, FileReport]]] = {}
    for name, report in reports.items():
        for model, file in zip(titles(report.files), report.files, strict=True):
            runs.setdefault(model, []).append((name, file))
    if not runs:
        raise DataError("The reports hold no file, so there is nothing to merge.")
    return [_matrix(model, own) for model, own in runs.items()]


def _matrix(model: str, runs: list[tuple[str, FileReport]]) -> Matrix:
    first = runs[0][1]
    for name, file in runs:
        if file.data_sha256 != first.data_sha256:
            raise DataError(
                f"{runs[0][0]} and {name} asked {model} about different pictures; verify with the same reference."
            )
    bits = np.stack([unpack_predictions(file) for _, file in runs])
    differing = (bits[:, None] != bits[None]).sum(axis=2)
    names = tuple(f"{name}, {file.engine}, {file.format}" for name, file in runs)
    return Matrix(model, names, differing, first.parity.count)


def matrices_to_markdown(matrices: list[Matrix]) -> str:
    """A table a model; the columns are numbered as the rows are."""
    parts = [f"# {TITLE}\n\n{NOTE}\n"]
    for matrix in matrices:
        header = ("run", *(str(number + 1) for number in range(len(matrix.names))))
        parts.append(f"## {matrix.model}, {matrix.count:,} pictures\n")
        parts.append(render(header, list(_rows(matrix)), markdown=True) + "\n")
    return "\n".join(parts)


def matrices_to_html(matrices: list[Matrix]) -> str:
    """The same as a heat map: the darker, the more answers differ."""
    sections = []
    for matrix in matrices:
        most = max(int(matrix.differing.max()), 1)
        header = ("run", *(str(number + 1) for number in range(len(matrix.names))))
        rows = [(row[0], *(_cell(int(value), most) for value in row[1:])) for row in _rows(matrix)]
        caption = f"{matrix.count:,} pictures"
        sections.append(section(matrix.model, grid(caption, header, rows)))
    return page(TITLE, Html(TITLE), NOTE, sections)


def _rows(matrix: Matrix) -> Iterator[tuple[str, ...]]:
    for number, (name, row) in enumerate(zip(matrix.names, matrix.differing, strict=True)):
        yield (f"{number + 1}: {name}", *(str(value) for value in row))


def _cell(value: int, most: int) -> Html:
    share = 0 if not value else 15 + 60 * value // most
    style = f"background: color-mix(in srgb, var(--FAIL) {share}%, transparent)"
    return fill('<div style="{}; margin: -.3rem -.7rem; padding: .3rem .7rem">{}</div>', style, value)
