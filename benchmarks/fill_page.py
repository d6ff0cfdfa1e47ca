"""The marked places on the documentation's pages, which the benchmarks fill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def fill_page(page: Path, texts: Mapping[str, str]) -> None:
    """Put each text between `<!-- NAME: by benchmarks/... -->` and `<!-- end of NAME -->`, by its name.

    Raises:
        ValueError: the page lacks a mark.
    """
    content = page.read_text()
    for name, text in texts.items():
        begin = content.index("\n", content.index(f"<!-- {name}: by benchmarks/")) + 1
        content = content[:begin] + text + content[content.index(f"\n<!-- end of {name} -->", begin - 1) :]
    page.write_text(content)
