"""What a client may ask of the server, so that neither its memory nor its time is used up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from oddeven.runtime.serve.event_loop import InEventLoop

BODY_BYTES = 16 << 20  # of one request
BODY_SECONDS = 10.0  # in which it must have come
CHECK_SECONDS = 0.5  # how often that is looked at
REQUEST_BYTES = 256 << 10  # what a request counts at least, so that at most 256 are answered at a time
ALL_BYTES = 64 << 20  # of all requests at a time
IMAGE_PIXELS = 50_000_000  # of one image: Pillow refuses more before it decodes
CONNECTIONS = 512


class Budget:
    """Bytes that all requests share. A request that needs more than are free is turned away at once."""

    def __init__(self, size_bytes: int = ALL_BYTES) -> None:
        self._free_bytes = size_bytes

    def reserve(self, scope: Scope) -> Held:
        """Hold what a request may need, until the `with` statement ends that takes this.

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
        return Held(self, held)

    def release(self, held: int) -> None:
        """Hold `held` bytes no longer."""
        self._free_bytes += held


@dataclass(frozen=True)
class Held:
    """Bytes of a `Budget`, to be given back. (A generator as a context manager would cost ten times as much.)"""

    budget: Budget
    size_bytes: int

    def __enter__(self) -> None:
        """They are held already."""

    def __exit__(self, *_: object) -> None:
        self.budget.release(self.size_bytes)


class BodyReader(InEventLoop):
    """Reads the bodies of requests. One timer watches over all of them: one for each would cost more than reading."""

    def __init__(self) -> None:
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive) -> bytes:
        """The whole body of a request.

        Raises:
            HTTPException: 413 where it has more than `BODY_BYTES`, 408 where it takes longer than `BODY_SECONDS`.
            ClientDisconnect: the client left.
        """
        loop = self._loop
        task = asyncio.current_task(loop)
        assert task is not None
        deadline = self._deadlines[task] = loop.time() + BODY_SECONDS
        if self._timer is None:
            self._timer = loop.call_later(CHECK_SECONDS, self._check)
        try:
            return await _joined(receive)
        except asyncio.CancelledError:
            if loop.time() < deadline:
                raise
            raise HTTPException(
                408, f"The body took longer than {BODY_SECONDS:g} s.", {"connection": "close"}
            ) from None
        finally:
            del self._deadlines[task]

    def _check(self) -> None:
        for task, deadline in self._deadlines.items():
            if deadline <= self._loop.time():
                task.cancel()
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check) if self._deadlines else None


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
