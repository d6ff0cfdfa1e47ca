"""What GitHub Actions is told by itself: a summary of the step, and an annotation for each file that does not pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from oddeven.runtime.errors import OutputError
from oddeven.runtime.parity.check import FAIL, PASS
from oddeven.runtime.verify.render.markdown import to_markdown
from oddeven.runtime.verify.report import Report

SUMMARY = "GITHUB_STEP_SUMMARY"


def summarise(report: Report) -> None:
    """Append the report to the step's summary, where this runs in a step.

    Raises:
        OutputError: the runner's file cannot be written.
    """
    if path := os.environ.get(SUMMARY):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(to_markdown(report))
        except OSError as error:
            raise OutputError(f"Cannot write the step's summary {path}: {error.strerror}.") from error


def workflow_commands(report: Report) -> Iterator[str]:
    """A workflow command for each file that does not pass and for each note, where this runs in GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for broken in report.broken:
        yield f"::error title={_escaped(broken.file, ',:')}::{_escaped(broken.reason)}"
    for file in report.files:
        if file.verdict != PASS:
            kind = "error" if file.verdict == FAIL else "warning"
            title = _escaped(f"{file.file} on {file.engine} {file.verdict}", ",:")
            yield f"::{kind} title={title}::{_escaped(file.reason)}"
        for note in file.notes:
            yield f"::notice title={_escaped(f'{file.file} on {file.engine}', ',:')}::{_escaped(note)}"


def _escaped(text: str, more: str = "") -> str:
    """As the runner wants it; `more` in a command's properties."""
    for sign in "%\r\n" + more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
