"""Dynamic batching: a request alone is answered at once, requests that come together are answered by one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.prediction import Prediction

MOST_IMAGES = 64
INLINE_US = 2000.0  # handing a call to a thread costs about 100 us, and the event loop can spare this

Infer = Callable[[Pixels], list[Prediction]]
Waiting = tuple[Pixels, "asyncio.Future[list[Prediction]]"]


class Batcher:
    """Answers the requests for one model.

    While requests come one at a time, each has a call of its own. Those that come in the same turn of the event loop,
    or while all threads are busy, go together, at most `MOST_IMAGES` at a time, in the order in which they came. While
    no thread is busy, a call that takes less than `INLINE_US` is made in the loop.
    """

    def __init__(
        self,
        infer: Infer,
        in_thread: Callable[[Infer, Pixels], Awaitable[list[Prediction]]],
        image_us: float,
        threads: int,
        wait_s: float = 0.0,
    ) -> None:
        """Take calls of `infer`.

        Args:
            infer: from ready pixels, uint8 (N, H, W, C), to a prediction an image.
            in_thread: calls it outside the event loop.
            image_us: what it takes for an image.
            threads: how many calls may run at a time.
            wait_s: how long a request may wait for others, also where no call runs.
        """
        self._infer, self._in_thread, self._image_us, self._wait_s = infer, in_thread, image_us, wait_s
        self._waiting: deque[Waiting] = deque()
        self._images_waiting = 0
        self._free, self._answered_this_turn = threads, False
        self._timer: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def results(self, pixels: Pixels) -> list[Prediction]:
        """What `infer` gives for `pixels`."""
        loop = asyncio.get_running_loop()
        if self._may_answer_at_once(pixels):
            self._answered_this_turn = True
            loop.call_soon(self._end_turn)
            return self._infer(pixels)
        future: asyncio.Future[list[Prediction]] = loop.create_future()
        self._waiting.append((pixels, future))
        self._images_waiting += len(pixels)
        if self._free and self._images_waiting >= MOST_IMAGES:
            self._start()
        elif self._free and self._timer is None:
            self._timer = loop.call_later(self._wait_s, self._start) if self._wait_s else loop.call_soon(self._start)
        return await future

    def _may_answer_at_once(self, pixels: Pixels) -> bool:
        alone = not (self._answered_this_turn or self._waiting or self._tasks)
        return alone and not self._wait_s and self._image_us * len(pixels) < INLINE_US

    def _end_turn(self) -> None:
        self._answered_this_turn = False

    def _start(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        batch: list[Waiting] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0][0]) <= MOST_IMAGES):
            batch.append(self._waiting.popleft())
            count += len(batch[-1][0])
        self._images_waiting -= count
        if not self._tasks and self._image_us * count < INLINE_US:
            self._deliver(batch, lambda: self._infer(_joined(batch)))
            if self._waiting:
                self._start()
            return
        self._free -= 1
        task = asyncio.create_task(self._answer(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[Waiting]) -> None:
        done = asyncio.ensure_future(self._in_thread(self._infer, _joined(batch)))
        await asyncio.wait([done])
        self._deliver(batch, done.result)
        self._free += 1
        if self._waiting:
            self._start()

    @staticmethod
    def _deliver(batch: list[Waiting], infer: Callable[[], list[Prediction]]) -> None:
        """Give each request what `infer` returns for its images, or the error that it raises."""
        try:
            results = iter(infer())
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for pixels, future in batch:
            part = list(islice(results, len(pixels)))
            if not future.done():  # its client left
                future.set_result(part)


def _joined(batch: list[Waiting]) -> Pixels:
    return np.concatenate([pixels for pixels, _ in batch])
