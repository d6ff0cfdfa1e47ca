"""The three-line API: load a model, show it a picture, read the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from oddeven.runtime.catalogue import DEFAULT_MODEL, locate
from oddeven.runtime.engines import AUTO, Engine, open_engine
from oddeven.runtime.errors import DataError, ModelError
from oddeven.runtime.image import prepare, read
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.tensor import Pixels, encoder

BATCH = 250

Picture = str | Path | bytes | Pixels


@dataclass(frozen=True)
class Prediction:
    """An answer.

    Attributes:
        label: the more likely of the two, by the model's threshold.
        probability: the model's probability of `label`, 0 to 1.
        scores: the probability of each label; they add up to 1.
    """

    label: str
    probability: float
    scores: dict[str, float]


class Classifier:
    """An open model that answers for pictures. Close it, or use it in a `with` statement.

    Attributes:
        engine: what runs it.
        spec: what it answers and what picture it wants.
        encode: from pixels, uint8 (N, *spec.input.shape), to the input tensor's dtype.
    """

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        self.engine, self.spec = engine, spec
        self.encode = encoder(engine.input, spec.input)

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        engine: str = AUTO,
        threads: int = 1,
        spec: ModelSpec | None = None,
    ) -> Classifier:
        """Open a bundled model by its name, or a model file by its path.

        Args:
            model: a name in `catalogue.bundled()`, or a path.
            engine: a name in `oddeven.runtime.engines.ENGINES`, or `auto` for the first installed one that fits.
            threads: for the engine's arithmetic.
            spec: for a file that carries none.

        Raises:
            UsageError: neither a bundled model nor a file has that name, or the engine does not fit.
            MissingPackageError: no engine for that file is installed.
            ModelError: the file is damaged, or carries no spec and none is given.
        """
        opened = open_engine(locate(model), engine, threads)
        found = opened.spec or spec
        if found is None:
            raise ModelError(
                f"{model} carries no ModelSpec, so its labels are unknown; give one, or export it with oddeven export."
            )
        return cls(opened, found)

    def predict(self, picture: Picture) -> Prediction:
        """The answer for one picture: a path, a file's bytes, or decoded pixels, uint8 (H, W) or (H, W, C).

        Raises:
            DataError: the picture cannot be read, or is not uint8 pixels.
        """
        return self._answer(float(self.probabilities(self.prepare(picture)[np.newaxis])[0]))

    def predict_batch(self, pictures: Iterable[Picture]) -> Iterator[Prediction]:
        """The answers for many pictures, in order, as they come; memory stays at one batch.

        Raises:
            DataError: as `predict`.
        """
        remaining = iter(pictures)
        while chunk := [self.prepare(picture) for picture in islice(remaining, BATCH)]:
            yield from (self._answer(float(p)) for p in self.probabilities(np.stack(chunk)))

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Probability of label 1, float32 (N,), for pixels that are ready: uint8 (N, *spec.input.shape)."""
        starts = range(0, len(pixels), BATCH)
        answers = [self.engine.run(self.encode(pixels[start : start + BATCH])) for start in starts]
        return np.concatenate(answers) if answers else np.empty(0, np.float32)

    def prepare(self, picture: Picture) -> Pixels:
        """`picture` as the model sees it: uint8 of `spec.input.shape`.

        Raises:
            DataError: as `predict`.
        """
        if isinstance(picture, np.ndarray):
            pixels = _checked(picture, self.spec.input.channels)
        else:
            pixels = read(picture if isinstance(picture, bytes) else Path(picture), self.spec.input.channels)
        return prepare(pixels, self.spec.input)

    def close(self) -> None:
        """Free the model."""
        self.engine.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, p: float) -> Prediction:
        """The answer for probability `p` of label 1."""
        scores = dict(zip(self.spec.labels, (1.0 - p, p), strict=True))
        label = self.spec.labels[int(p > self.spec.threshold)]
        return Prediction(label, scores[label], scores)


def _checked(pixels: Pixels, channels: int) -> Pixels:
    """Decoded pixels with their channel dimension, refused where they are anything else."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != channels or not pixels.size:
        raise DataError(
            f"Expected uint8 pixels (height, width, {channels}) from 0 to 255, got {pixels.dtype} {pixels.shape}."
        )
    return pixels
