"""The summary of an archive, as text and as a page."""

from __future__ import annotations

import json
from pathlib import Path

from oddeven.runtime.archive.score import BINS, Run, Summary
from oddeven.runtime.page import render_page
from oddeven.runtime.table import render

TEMPLATE = Path(__file__).parent / "templates" / "archive.html"
BAR = 40  # characters of the longest bar
DEFAULTS = {"min_confidence": 0.0}  # of the options in `Run.settings`; None or "auto" of the others


def to_text(summary: Summary) -> str:
    """Two tables: images by label, and the histogram of probabilities."""
    counted = render(("label", "images", "share"), label_rows(summary))
    most = max(summary.histogram, default=0) or 1
    bars = [
        (f"{low / BINS:.1f} to {(low + 1) / BINS:.1f}", f"{count:,}", "#" * round(BAR * count / most))
        for low, count in enumerate(summary.histogram)
    ]
    return f"{counted}\n\n{render(('probability', 'images', ''), bars)}"


def label_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Label, number and share, with the unreadable images and all of them at the end."""
    total = summary.images or 1
    counted = [*summary.labels.items(), ("unreadable", summary.unreadable), ("all", summary.images)]
    return [(name, f"{count:,}", f"{count / total:.2%}") for name, count in counted]


def to_html(summary: Summary, run: Run, folder: str) -> str:
    """The same as a page that needs nothing else.

    Raises:
        MissingPackageError: Jinja2 is not installed.
    """
    settings = json.loads(run.settings).items()
    options = [f"{name} {value}" for name, value in settings if value not in (None, "auto", DEFAULTS.get(name))]
    made_by = ", ".join([f"{run.model} {run.model_sha256[:12]}", *options])
    return render_page(
        TEMPLATE, summary=summary, labels=label_rows(summary), made_by=made_by, folder=folder,
        most=max(summary.histogram) or 1,
    )  # fmt: skip
