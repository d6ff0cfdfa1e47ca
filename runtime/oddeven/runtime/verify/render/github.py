"""What GitHub Actions is told without being asked: a summary of the step, and an annotation for each failed file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from oddeven.runtime.errors import OutputError
from oddeven.runtime.parity.check import FAIL, PASS
from oddeven.runtime.verify.render.markdown import to_markdown
from oddeven.runtime.verify.report import Report

SUMMARY = "GITHUB_STEP_SUMMARY"
LINE = "%\r\n"  # what the runner wants escaped; in a command's properties comma and colon as well


def append_summary(report: Report) -> None:
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


def workflow_commands(report: Report, strict: bool) -> Iterator[str]:
    """A workflow command for each file that does not pass and for each note, where this runs in GitHub Actions.

    Args:
        strict: whether INCONCLUSIVE is a failure; if not, it is a warning.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for broken in report.broken:
        yield _annotation("error", broken.file, broken.reason)
    for file in report.files:
        name = f"{file.file} on {file.engine}"
        if file.verdict != PASS:
            failed = file.verdict == FAIL or strict
            yield _annotation("error" if failed else "warning", f"{name} {file.verdict}", file.reason)
        for note in file.notes:
            yield _annotation("notice", name, note)


def _annotation(kind: str, title: str, text: str) -> str:
    return f"::{kind} title={_escape(title, LINE + ',:')}::{_escape(text, LINE)}"


def _escape(text: str, signs: str) -> str:
    for sign in signs:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
