"""MediaPipe Tasks' ImageClassifier, which phones and web pages run: for files that were exported for it."""

from __future__ import annotations

from typing import Any

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine, PackageEngine
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo, pixel_input
from oddeven.runtime.errors import ModelError


class MediaPipeEngine(PackageEngine):
    """One classifier; it takes pixels, RGB, and gives real scores, one image at a time."""

    def __init__(self, classifier: Any, model: ModelFile) -> None:
        super().__init__(classifier, model)
        if model.spec is None:
            raise ModelError(f"{model.path} carries no ModelSpec; export it with oddeven export --format mediapipe.")
        taken = model.spec.input
        self.input = pixel_input("image", (-1, taken.height, taken.width, 3), taken)
        self.output = TensorInfo("scores", (-1, 2), "float32")
        if model.spec.familiarity:
            self.familiarity = TensorInfo("familiarity", (-1, 1), "float32")

    def _compute(self, classifier: Any, batch: Array) -> tuple[Array, ...]:
        """The scores of label 0 and label 1, float32 (N, 2), and what else there is, for pixels, uint8 (N, H, W, 3)."""
        heads = [info for info in (self.output, self.familiarity) if info]
        scores = tuple(np.empty((len(batch), info.shape[1]), np.float32) for info in heads)
        for number, pixels in enumerate(batch):
            image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
            for head, given in zip(scores, classifier.classify(image).classifications, strict=True):
                for category in given.categories:
                    head[number, category.index] = category.score
        return scores

    def close(self) -> None:
        """Free the classifier."""
        if self._opened is not None:
            self._opened.close()
        super().close()


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open a file in MediaPipe's form; MediaPipe chooses its threads itself.

    Raises:
        ModelError: the file carries no spec.
    """
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_buffer=model.content))
    return MediaPipeEngine(vision.ImageClassifier.create_from_options(options), model)
