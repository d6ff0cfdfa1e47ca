"""From an address to a running server."""

from __future__ import annotations

import socket

import uvicorn
from PIL import Image
from starlette.types import ASGIApp

from oddeven.runtime.errors import UsageError
from oddeven.runtime.serve.limits import CONNECTIONS, IMAGE_PIXELS

GRACE_SECONDS = 20  # for what has been accepted when the server is told to end
BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections to `host` and `port`, 0 for any that is free.

    Raises:
        UsageError: the address is not this machine's, or is in use.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the second of a name that is too long for one
        reason = str(getattr(error, "strerror", error)).partition(" (")[0]
        raise UsageError(f"Cannot listen on {host} port {port}: {reason}; choose another --host or --port.") from error
    # Its connections inherit this. Without it a response's second packet waits for the client's delayed ACK, 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url(host: str, listening: socket.socket) -> str:
    """The address to open in a browser."""
    port = listening.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def run(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; what was accepted by then is answered."""
    Image.MAX_IMAGE_PIXELS = IMAGE_PIXELS
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listening])
