"""The server's own camera: each viewer gets the newest frame, so that none lags behind however slow its network is."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.device.capture import open_source, toned
from oddeven.runtime.errors import DataError, OddEvenError

IDLE_SECONDS = 5.0  # without a viewer for so long, the camera is closed
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Shot:
    """A frame: its pixels, uint8 (height, width, 3), and the same as a JPEG file."""

    pixels: Pixels
    jpeg: bytes

    def image(self, channels: int) -> Pixels:
        """The pixels for a model with so many channels, by the same arithmetic as an image file's."""
        return toned(self.pixels, channels)


class SharedCamera:
    """A camera that is open while somebody looks. Viewers who ask at the same time get the same frame."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(1, "camera")  # it is opened, read and closed by one thread
        self._open: ExitStack | None = None
        self._frames: Iterator[Pixels] = iter(())
        self._next: asyncio.Future[Shot] | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def shot(self) -> Shot:
        """The next frame.

        Raises:
            DataError: the camera cannot be opened, is lost, or the video has ended.
            MissingPackageError: what reads it is not installed.
        """
        loop = asyncio.get_running_loop()
        if self._idle:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_SECONDS, self.close)
        if self._next is None or self._next.done():
            self._next = loop.run_in_executor(self._thread, self._take)
        return await asyncio.shield(self._next)

    def close(self) -> None:
        """Close the camera; the next viewer opens it again."""
        self._thread.submit(self._release)

    def _take(self) -> Shot:
        try:
            if self._open is None:
                self._open = ExitStack()
                self._frames = self._open.enter_context(open_source(self._source))
            pixels = next(self._frames)
        except StopIteration:
            self._release()
            raise DataError(f"{self._source} has ended; look again to see it from its start.") from None
        except OddEvenError:
            self._release()
            raise
        jpeg = io.BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=JPEG_QUALITY)
        return Shot(pixels, jpeg.getvalue())

    def _release(self) -> None:
        if self._open:
            self._open.close()
        self._open = None
