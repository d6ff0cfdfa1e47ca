"""What the endpoints share: open models, the threads that run them, and what is counted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.device.capture import predict_seen
from oddeven.runtime.errors import DataError
from oddeven.runtime.images.decode import ImageLike
from oddeven.runtime.images.encode import to_png_base64
from oddeven.runtime.prediction import Prediction, as_fields
from oddeven.runtime.serve.batching import Batcher
from oddeven.runtime.serve.limits import Budget
from oddeven.runtime.serve.metrics import Metrics
from oddeven.runtime.serve.protocol import Images
from oddeven.runtime.serve.served_model import ServedModel

Result = TypeVar("Result")


class Service:
    """Predictions for requests.

    Attributes:
        models: by name.
    """

    def __init__(self, models: Mapping[str, ServedModel], batch_wait_s: float = 0.0) -> None:
        self.models, self.metrics, self.budget = models, Metrics(), Budget()
        cores = os.cpu_count() or 1
        calls = max(1, cores - 1)  # at a time, of ready pixels: the event loop keeps a core busy
        self._threads = ThreadPoolExecutor(cores, "engine")
        self._batchers: dict[str, Batcher] = {}
        for name, model in models.items():
            self.metrics.model(name, model.facts)
            infer = partial(self._infer, model)
            self._batchers[name] = Batcher(infer, self.in_thread, model.image_us, calls, batch_wait_s)

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """`work(*arguments)`, outside the event loop."""
        asked = perf_counter()

        def timed() -> Result:
            self.metrics.observe("wait", perf_counter() - asked)
            return work(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._threads, timed)

    async def predict(self, model: ServedModel, image: ImageLike, name: str, show_input: bool) -> dict[str, Any]:
        """The prediction for one image, as `oddeven predict --json` gives it, with the model and its times.

        Raises:
            DataError: the image cannot be read.
        """
        return await self.in_thread(self._predict, model, image, name, show_input)

    async def infer(self, model: ServedModel, images: Images) -> list[Prediction]:
        """The prediction for each of `images`, which are as `protocol.parse` gives them.

        Raises:
            DataError: an image cannot be read, or there is nothing on it.
        """
        if isinstance(images, tuple):
            return await self.in_thread(self._files, model, images)
        return await self._batchers[model.name].results(images)

    def close(self) -> None:
        """Wait for what runs, and free the models."""
        self._threads.shutdown()
        for model in self.models.values():
            model.classifier.close()

    def _infer(self, model: ServedModel, pixels: Pixels) -> list[Prediction]:
        start = perf_counter()
        predictions = model.classifier.predict_ready(pixels)
        self.metrics.observe("infer", perf_counter() - start)
        self.metrics.predicted(model.name, [prediction.label for prediction in predictions])
        return predictions

    def _files(self, model: ServedModel, files: tuple[bytes, ...]) -> list[Prediction]:
        start, ready = perf_counter(), []
        for number, file in enumerate(files):
            try:
                ready.append(model.classifier.prepare(file))
            except DataError as error:
                raise DataError(f"Image {number}: {error}") from error
        self.metrics.observe("prepare", perf_counter() - start)
        return self._infer(model, np.stack(ready))

    def _predict(self, model: ServedModel, image: ImageLike, name: str, show_input: bool) -> dict[str, Any]:
        start = perf_counter()
        prediction, pixels, prepared = predict_seen(model.classifier, image)
        stages = {"prepare": prepared - start, "infer": perf_counter() - prepared}
        for stage, seconds in stages.items():
            self.metrics.observe(stage, seconds)
        self.metrics.predicted(model.name, [prediction.label])
        fields = {**as_fields(name, prediction), "model": model.name}
        fields |= {f"{stage}_ms": round(1e3 * seconds, 3) for stage, seconds in stages.items()}
        if show_input and pixels is not None:
            fields["input"] = f"data:image/png;base64,{to_png_base64(pixels)}"
        return fields
