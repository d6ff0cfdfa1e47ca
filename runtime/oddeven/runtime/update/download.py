"""A download that goes on where it broke off."""

from __future__ import annotations

import http.client
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from oddeven.runtime.errors import UpdateError

PIECE = 1 << 16
TIMEOUT_S = 30.0
ATTEMPTS = 5
PARTIAL, NOTHING_LEFT = 206, 416  # HTTP status


def download(url: str, path: Path, limit_bytes: int) -> None:
    """Download `url` to `path`; what an earlier, broken download left there is kept, and the rest is asked for.

    Nothing here is trusted: who calls this checks the content, and removes a file that does not pass.

    Raises:
        UpdateError: the server refuses or is not there, or the file is larger than `limit_bytes`.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        try:
            if _continued(url, path, limit_bytes):
                return
            reason = "the connection broke"
        except urllib.error.HTTPError as error:
            if error.code == NOTHING_LEFT and path.exists():
                return
            raise UpdateError(f"Cannot download {url}: HTTP status {error.code}.") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = getattr(error, "reason", error)  # of a URLError
            reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    raise UpdateError(f"Cannot download {url}: {reason}. Started again, it goes on where it broke off.")


def _continued(url: str, path: Path, limit_bytes: int) -> bool:
    """Whether the file is whole after one more connection."""
    there = path.stat().st_size if path.exists() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    request = urllib.request.Request(urllib.parse.quote(url, string.punctuation), headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise UpdateError(f"{url} leads to {response.url}, which is not encrypted.")
        if response.status != PARTIAL:
            there = 0
        announced = response.headers.get("Content-Length")
        expected = there + int(announced) if announced and announced.isdecimal() else None
        with path.open("r+b" if there else "wb") as file:
            file.seek(there)
            while piece := response.read(PIECE):
                there += len(piece)
                if max(there, expected or 0) > limit_bytes:
                    raise UpdateError(f"{url} is larger than {limit_bytes:,} bytes, which is the limit (--max-mb).")
                file.write(piece)
    return expected is None or there == expected
