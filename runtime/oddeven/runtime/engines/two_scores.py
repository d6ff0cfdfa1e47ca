"""A file in MediaPipe's form, RGB in and two scores out, as any other: the model's channels in, one probability out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine
from oddeven.runtime.spec import ModelSpec


class TwoScores(Engine):
    """An engine around one that has opened such a file."""

    def __init__(self, inner: Engine, spec: ModelSpec) -> None:
        self.name, self.package, self.spec, self._inner = inner.name, inner.package, spec, inner
        self.input = replace(inner.input, shape=(*inner.input.shape[:3], spec.input.channels))
        self.output = replace(inner.output, shape=(inner.output.shape[0], 1))
        self.familiarity = inner.familiarity
        self._copies = inner.input.shape[3] // spec.input.channels

    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The score of label 1, (N, 1), and what else there is, for `batch`, (N, H, W, C) in the input's dtype."""
        scores, *familiarity = self._inner.invoke(
            np.repeat(batch, self._copies, axis=-1) if self._copies > 1 else batch
        )
        return scores[:, 1:], *familiarity

    def close(self) -> None:
        """Free the model."""
        self._inner.close()
