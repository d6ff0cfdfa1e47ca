"""The page: one HTML file, and the module through which it asks for predictions."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

HERE = Path(__file__).parent


def content_security_policy(page: str, script: str = "'self'") -> str:
    """What a browser may load and run for `page`: its own inline style and scripts, known by hash, and `script`."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {script} {_hashes(page, 'script')}",
            f"style-src {_hashes(page, 'style')}",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(page: str, tag: str) -> str:
    """The source expressions for the texts of all `tag` elements."""
    texts = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


PAGE = (HERE / "index.html").read_text(encoding="utf-8")
BACKEND = (HERE / "server.js").read_text(encoding="utf-8")
POLICY = content_security_policy(PAGE)
