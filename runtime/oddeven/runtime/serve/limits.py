"""What a client may ask of the server, so that neither its memory nor its time is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

BODY_BYTES = 16 << 20  # of one request
BODY_SECONDS = 10.0  # in which it must have come
TOO_SLOW = f"The body took longer than {BODY_SECONDS:g} s."
REQUEST_BYTES = 256 << 10  # what a request counts at least, so that at most 256 are answered at a time
ALL_BYTES = 64 << 20  # of all requests at a time
IMAGE_PIXELS = 50_000_000  # of one image: more are not decoded
CONNECTIONS = 512


class Budget:
    """Bytes that all requests share. A request that needs more than are free is turned away at once."""

    def __init__(self) -> None:
        self._free_bytes = ALL_BYTES

    @contextmanager
    def reserve(self, scope: Scope) -> Iterator[None]:
        """Hold what a request may need.

        Raises:
            HTTPException: 413 where the request announces a body over `BODY_BYTES`, 503 where others hold too much.
        """
        announced = _announced_bytes(scope)
        if announced > BODY_BYTES:
            raise _too_large()
        held = max(announced, REQUEST_BYTES)
        if held > self._free_bytes:
            raise HTTPException(503, "The server is busy; try again in a second.", {"retry-after": "1"})
        self._free_bytes -= held
        try:
            yield
        finally:
            self._free_bytes += held


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        HTTPException: 413 where it has more than `BODY_BYTES`, 408 where it takes longer than `BODY_SECONDS`.
        ClientDisconnect: the client left.
    """
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(BODY_SECONDS, task.cancel, TOO_SLOW)
    try:
        return await _joined(receive)
    except asyncio.CancelledError as error:
        if TOO_SLOW not in error.args:
            raise
        raise HTTPException(408, TOO_SLOW, {"connection": "close"}) from None
    finally:
        timer.cancel()


async def _joined(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > BODY_BYTES:
            raise _too_large()
    return b"".join(parts)


def _too_large() -> HTTPException:
    """The connection stays open, and what still comes is dropped: a reset would take the answer with it."""
    return HTTPException(413, f"The body has more than {BODY_BYTES:,} bytes.")


def _announced_bytes(scope: Scope) -> int:
    """The length of the body by its header; `BODY_BYTES` for one that comes in chunks of untold number."""
    headers = dict(scope["headers"])
    return BODY_BYTES if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))
