"""The files of a checkout that no wheel carries: MNIST, the weights of lite0 and clip art."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

FOLDER = Path("train", "data")


def find(name: str) -> Path | None:
    """`train/data/<name>`, a file or a folder, of the checkout that this runs in or was installed from, or None."""
    for root in (Path(), installed_from()):
        if root is not None and (path := root / FOLDER / name).exists():
            return path
    return None


def installed_from() -> Path | None:
    """The folder that was given to `pip install`, which notes it in direct_url.json (PEP 610)."""
    try:
        noted = json.loads(distribution("oddeven").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    url = urlparse(noted.get("url", ""))
    return Path(url2pathname(url.path)) if url.scheme == "file" and "dir_info" in noted else None
