"""HTML pages from Jinja2 templates, each whole in itself: no script, no font, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oddeven.runtime.errors import extra, needing

SHARED = Path(__file__).parent / "templates"  # `page.html`, which others extend, and its style


def check_templates() -> None:
    """Find out before the work whether a page can be made after it.

    Raises:
        MissingPackageError: Jinja2 is not installed.
    """
    with needing("An HTML report", extra("report")):
        import jinja2  # noqa: F401


def render_page(template: Path, **values: Any) -> str:
    """The page that `template` makes of `values`. It may extend and include those beside it and the shared ones.

    Raises:
        MissingPackageError: Jinja2 is not installed.
    """
    check_templates()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, SHARED]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template.name).render(values)
