"""The event loop that the server's parts run in."""

from __future__ import annotations

import asyncio
from functools import cached_property


class InEventLoop:
    """A part that runs in one event loop."""

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """That loop. It is asked for once: up to Python 3.11 each question is a system call."""
        return asyncio.get_running_loop()
