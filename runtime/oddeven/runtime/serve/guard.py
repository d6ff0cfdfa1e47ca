"""Who may talk to the server: by Host, by Origin and by token, before any request is looked at."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from oddeven.runtime.errors import UsageError

COOKIE = "oddeven_token"
OPEN_TO_ALL = "/v2/health/"  # what a load balancer asks
# Of every response.
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
]


@dataclass(frozen=True)
class Guard:
    """Who may use the server.

    Attributes:
        names: host names that a request may be addressed to, lower case. An IP address always may: a page of another
            site that rebinds its own name to our address still sends its name.
        token: what each request must carry, as `Authorization: Bearer TOKEN` or as a cookie; "" where none is needed.
            `/?token=TOKEN` sets the cookie.
    """

    names: frozenset[str]
    token: str = ""

    def refusal(self, scope: Scope) -> Response | None:
        """What to answer instead of passing the request on; None for one that may pass."""
        asked = HTTPConnection(scope)
        host, origin = asked.headers.get("host", ""), asked.headers.get("origin")
        if not _is_ours(host, self.names):
            return _refuse(421, f"This server is not called {host[:100]!r}; start it with --allow-host to let it be.")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return _refuse(403, f"A page of {origin[:100]!r} may not use this server.")
        if not self.token or scope["path"].startswith(OPEN_TO_ALL) or self._is_right(_carried(asked)):
            return None
        if scope["path"] == "/" and scope["method"] == "GET" and self._is_right(asked.query_params.get("token", "")):
            response: Response = RedirectResponse("/", 303)
            response.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return response
        return _refuse(401, "Give the token that the server printed, as: Authorization: Bearer TOKEN")

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())


@lru_cache(64)  # each request of a client names the same host
def _is_ours(host: str, names: frozenset[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return name in names or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def own_names(host: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The names of this machine, of the address it listens on, and `more`."""
    own = socket.gethostname().lower()
    return frozenset({"localhost", own, f"{own}.local", host.lower(), *(name.lower() for name in more)})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _carried(asked: HTTPConnection) -> str:
    """The token that a request carries; "" where it carries none."""
    scheme, _, given = asked.headers.get("authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" else asked.cookies.get(COOKIE, "")


def _refuse(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status, {"connection": "close"})


def checked_token(given: str | None, host: str) -> str:
    """The token to ask for: the `given` one, a new one where others than this machine reach `host`, or "" for none.

    Raises:
        UsageError: the given one cannot be part of an address.
    """
    if given is None:
        return "" if is_loopback(host) else secrets.token_urlsafe(16)
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", given):
        raise UsageError("The token is empty, or has other characters than letters, digits and . _ ~ -")
    return given
