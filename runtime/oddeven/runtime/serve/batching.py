"""Dynamic batching: what several requests ask at about the same time, in one call of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from oddeven.runtime.arrays import Array, Pixels

MOST_IMAGES = 64

Waiting = tuple[Pixels, "asyncio.Future[Array]"]


class Batcher:
    """Collects the images of requests until there are `MOST_IMAGES`, or the first has waited for `wait_s`."""

    def __init__(self, compute: Callable[[Pixels], Awaitable[Array]], wait_s: float) -> None:
        self._compute, self._wait_s = compute, wait_s
        self._waiting: list[Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def scores(self, pixels: Pixels) -> Array:
        """What `compute` gives for ready pixels, uint8 (N, H, W, C): a row an image."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Array] = loop.create_future()
        self._waiting.append((pixels, future))
        if sum(len(images) for images, _ in self._waiting) >= MOST_IMAGES:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_later(self._wait_s, self._start)
        return await future

    def _start(self) -> None:
        if self._timer:
            self._timer.cancel()
        batch, self._waiting, self._timer = self._waiting, [], None
        task = asyncio.get_running_loop().create_task(self._answer(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[Waiting]) -> None:
        try:
            scores = await self._compute(np.concatenate([pixels for pixels, _ in batch]))
        except Exception as error:  # each of the requests must hear of it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        ends = np.cumsum([len(pixels) for pixels, _ in batch])[:-1]
        for (_, future), part in zip(batch, np.split(scores, ends), strict=True):
            if not future.done():  # its client left
                future.set_result(part)
