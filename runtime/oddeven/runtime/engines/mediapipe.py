"""MediaPipe Tasks' ImageClassifier, which phones and web pages run: for files that were exported for it."""

from __future__ import annotations

from typing import Any

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine, closed, failed
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo, pixel_input
from oddeven.runtime.errors import ModelError
from oddeven.runtime.process import quiet


class MediaPipeEngine(Engine):
    """One classifier; it takes pixels, RGB, and gives real scores, one image at a time."""

    name = package = "mediapipe"

    def __init__(self, classifier: Any, model: ModelFile) -> None:
        if model.spec is None:
            raise ModelError(f"{model.path} carries no ModelSpec; export it with oddeven export --format mediapipe.")
        self._classifier, self._path, self.spec = classifier, model.path, model.spec
        taken = model.spec.input
        self.input = pixel_input("image", (-1, taken.height, taken.width, 3), taken)
        self.output = TensorInfo("scores", (-1, 2), "float32")

    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The scores of label 0 and label 1, float32 (N, 2), alone, for pixels, uint8 (N, H, W, 3)."""
        if self._classifier is None:
            raise closed()
        scores = np.empty((len(batch), 2), np.float32)
        try:
            for row, pixels in zip(scores, batch, strict=True):
                image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
                for category in self._classifier.classify(image).classifications[0].categories:
                    row[category.index] = category.score
        except Exception as error:
            raise failed(self._path, self.package, "run", error) from error
        return (scores,)

    def close(self) -> None:
        """Free the classifier."""
        if self._classifier is not None:
            self._classifier.close()
            self._classifier = None


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open a file in MediaPipe's form; MediaPipe chooses its threads itself.

    Raises:
        ModelError: the file is damaged, or in another form.
    """
    try:
        with quiet():
            options = vision.ImageClassifierOptions(BaseOptions(model_asset_buffer=model.content))
            return MediaPipeEngine(vision.ImageClassifier.create_from_options(options), model)
    except ModelError:
        raise
    except Exception as error:
        raise failed(model.path, MediaPipeEngine.package, "load", error) from error
