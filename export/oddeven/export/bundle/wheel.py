"""The wheel of the oddeven that runs here, made again from its installed files: no build tool, no network.

It works alike from a normal and from an editable install; of the latter the metadata are those of the day it was made.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

NAME = "oddeven"
PARTS = ("train", "export", "runtime")
WHEEL = "Wheel-Version: 1.0\nGenerator: oddeven\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel() -> tuple[str, bytes]:
    """The wheel's file name and bytes; equal files give equal bytes.

    Source of the format: PyPA's "Binary distribution format".
    """
    installed = distribution(NAME)
    stem = f"{NAME}-{installed.version}"
    info = f"{stem}.dist-info"
    entries = {path: content for part in PARTS for path, content in _files(part).items()}
    for name in ("METADATA", "entry_points.txt"):
        entries[f"{info}/{name}"] = (installed.read_text(name) or "").encode()
    for file in installed.files or ():
        if file.parent.name == "licenses":
            entries[f"{info}/licenses/{file.name}"] = file.read_binary()
    entries[f"{info}/WHEEL"] = WHEEL.encode()
    record = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in sorted(entries.items())]
    entries[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    return f"{stem}-py3-none-any.whl", zipped(entries)


def zipped(entries: Mapping[str, bytes]) -> bytes:
    """A ZIP archive of `entries`, sorted and dated 1980, so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(entries.items()):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _files(part: str) -> dict[str, bytes]:
    """The files of one part of the package, wherever it is installed, by their paths in a wheel."""
    folder = Path(str(files(f"{NAME}.{part}")))
    return {
        f"{NAME}/{part}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
