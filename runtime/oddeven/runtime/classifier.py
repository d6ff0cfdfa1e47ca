"""The three-line API: load a model, show it a picture, read the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.engines.contract import Engine, closed
from oddeven.runtime.engines.metadata import read_model
from oddeven.runtime.engines.quantization import TensorInfo, decode, encoder
from oddeven.runtime.engines.registry import AUTO, open_read, select
from oddeven.runtime.errors import BlankError, DataError, ModelError, UsageError, choose
from oddeven.runtime.images.inputs import Picture, light, prepare_each, prepared
from oddeven.runtime.images.parallel import chunks_of, in_order
from oddeven.runtime.images.preprocess import INVERSIONS, PREPROCESSINGS
from oddeven.runtime.images.ready import all_plain, plain
from oddeven.runtime.prediction import UNCERTAIN, Prediction
from oddeven.runtime.spec import ModelSpec

CHUNK_BYTES = 256 * 28 * 28  # above it a larger batch is no faster on any engine
Q_ANSWERS = np.arange(256, dtype=np.uint8)
ON_ERROR = ("raise", "return")


class Classifier:
    """An open model that answers for pictures. Close it, or use it in a `with` statement.

    Threads may share one: a call that finds all its engines busy opens another.

    Attributes:
        engine: the first one; what runs the model.
        spec: what it answers and what picture it wants.
        encode: from pixels, uint8 (N, *spec.input.shape), to the input tensor's dtype.
    """

    def __init__(
        self,
        engine: Engine,
        spec: ModelSpec,
        another: Callable[[], Engine],
        invert: str = "auto",
        min_confidence: float = 0.0,
    ) -> None:
        self.engine, self.spec = engine, spec
        self.encode = encoder(engine.input, spec.input)
        self._idle, self._another = [engine], another
        self._invert, self._min_confidence = invert, min_confidence
        shape = spec.input.shape
        self._chunk = max(1, CHUNK_BYTES // max(784, int(np.prod(shape))))
        as_it_is = invert != "yes" and spec.input.polarity != "dark-on-light"
        # The shapes that are taken as they are, and what makes a batch of one of each.
        self._ready: dict[tuple[int, ...], Any] = {shape: (np.newaxis,)} if as_it_is else {}
        if as_it_is and shape[2] == 1:
            self._ready[shape[:2]] = (np.newaxis, ..., np.newaxis)
        self._row = shape[1] * shape[2]
        self._gap = _gap(engine.output)
        self._answers: list[Prediction] = []
        if engine.output.dtype == "uint8":
            self._answers = [self._answer(p) for p in decode(Q_ANSWERS, engine.output).tolist()]

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        engine: str = AUTO,
        threads: int = 1,
        spec: ModelSpec | None = None,
        preprocess: str = "auto",
        invert: str = "auto",
        threshold: float | None = None,
        min_confidence: float = 0.0,
    ) -> Classifier:
        """Open a model.

        Args:
            model: the path of a model file or of an artifact folder, or, where there is no such path, a name in
                `catalogue.bundled()`; None for the bundled deep_cnn.
            engine: a name in `oddeven.runtime.engines.ENGINES`, or `auto` for the first installed one that fits.
            threads: for the arithmetic of one picture; more than one helps only where a picture takes longer than
                about 0.1 ms. `predict_batch` uses all cores in any case.
            spec: for a file that carries none.
            preprocess: a name in `image.PREPROCESSINGS` instead of the spec's.
            invert: `yes`, `no`, or `auto` to look at the picture where the spec's polarity matters.
            threshold: instead of the spec's.
            min_confidence: an answer with a lower probability is `UNCERTAIN`; 0 to 1.

        Raises:
            UsageError: neither a bundled model nor a file has that name, the engine does not fit, or an option is
                unknown or out of range.
            MissingPackageError: no engine for that file is installed.
            ModelError: the file is damaged, or carries no spec and none is given.
        """
        choose("inversion", invert, INVERSIONS)
        if preprocess != AUTO:
            choose("preprocessing", preprocess, PREPROCESSINGS)
        if not 0.0 <= min_confidence <= 1.0:
            raise UsageError(f"min_confidence is {min_confidence}; expected a probability, from 0 to 1.")
        if threads < 1:
            raise UsageError(f"threads is {threads}; expected at least 1.")
        path = locate(model)
        chosen = select(path, engine)
        file = read_model(path)
        nameless = ModelError(
            f"{path} carries no ModelSpec, so its labels are unknown; give one, or export it with oddeven export."
        )
        if path.suffix == ".tflite" and not (file.spec or spec):
            raise nameless  # before tflite-runtime crashes on it: a file that was cut off has lost its spec first
        opened = open_read(file, chosen, threads)
        found = opened.spec or spec
        if found is None:
            raise nameless
        taken, given = opened.input.shape[1:], found.input.shape
        if any(ours not in (-1, theirs) for ours, theirs in zip(taken, given, strict=True)):
            raise UsageError(f"{path} takes {taken} pictures, the given spec's are {given}.")
        view = found.input if preprocess == AUTO else replace(found.input, preprocessing=preprocess)
        choose("preprocessing", view.preprocessing, PREPROCESSINGS)
        try:
            found = replace(found, input=view, threshold=found.threshold if threshold is None else threshold)
        except ValueError as error:
            raise UsageError(f"Not possible: {error}") from error
        return cls(opened, found, lambda: open_read(file, chosen, threads), invert, min_confidence)

    def predict(self, picture: Picture) -> Prediction:
        """The answer for one picture; a blank one is `UNCERTAIN`.

        Args:
            picture: a path, a file's bytes, a PIL image, or decoded pixels, uint8 (H, W) or (H, W, C), as an array or
                as anything with `__array__`.

        Raises:
            DataError: the picture cannot be read, is not uint8 pixels, or is none of these.
            ModelError: the engine cannot compute the answer, or it is no probability.
        """
        if isinstance(picture, np.ndarray) and (one := self._ready.get(picture.shape)) and plain(picture, self._row):
            pixels = picture[one]
        else:
            try:
                pixels = self.prepare(picture)[np.newaxis]
            except BlankError as error:
                return blank(error)
        q_answer = self._run(pixels)
        if self._answers:
            q: int = q_answer.item()
            return self._answers[q]
        return self._answer(float(decode(q_answer, self.engine.output)[0]))

    @overload
    def predict_batch(self, pictures: Iterable[Picture]) -> Iterator[Prediction]: ...
    @overload
    def predict_batch(
        self, pictures: Iterable[Picture], errors: Literal["return"]
    ) -> Iterator[Prediction | DataError]: ...
    def predict_batch(
        self, pictures: Iterable[Picture], errors: Literal["raise", "return"] = "raise"
    ) -> Iterator[Prediction | DataError]:
        """The answers for many pictures, in order, as they come.

        Chunks are decoded and answered side by side, one a core; memory stays at a few chunks.

        Args:
            pictures: as `predict` takes them; an array of ready ones, uint8 (N, H, W) or (N, H, W, C), is fastest.
            errors: `raise`, or `return` to give the `DataError` of a bad picture in its place.

        Raises:
            UsageError: at once, where `errors` is neither, or `pictures` are not many.
            DataError: as `predict`.
        """
        choose("way with errors", errors, ON_ERROR)
        many = hasattr(pictures, "__iter__") or hasattr(pictures, "__getitem__")
        if isinstance(pictures, (str, bytes)) or not many:
            raise UsageError(f"predict_batch takes many pictures, got one {type(pictures).__name__}; give a list.")
        return self._each(pictures, errors == "raise")

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Probability of label 1, float32 (N,), for pixels that are ready: uint8 (N, *spec.input.shape)."""
        parts = in_order(self._run, chunks_of(pixels, self._chunk))
        return np.concatenate([np.empty(0, np.float32), *(decode(part, self.engine.output) for part in parts)])

    def prepare(self, picture: Picture) -> Pixels:
        """`picture` as the model sees it: uint8 of `spec.input.shape`.

        Raises:
            BlankError: there is nothing to look at.
            DataError: as `predict`.
        """
        return prepared(picture, self.spec.input, self._invert)

    def answer(self, pixels: Pixels) -> Prediction:
        """The answer for one picture as `prepare` gave it."""
        return self._answer(float(decode(self._run(pixels[np.newaxis]), self.engine.output)[0]))

    def close(self) -> None:
        """Free the model; what is asked afterwards is a `UsageError`."""
        self._another = _closed
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _each(self, pictures: Iterable[Picture], strict: bool) -> Iterator[Prediction | DataError]:
        chunks = chunks_of(pictures, self._chunk)
        for first in chunks:
            together = chain([first], chunks)
            if all(isinstance(picture, np.ndarray) for picture in first):
                for answers in in_order(partial(self._answer_chunk, strict=strict), together):
                    yield from answers
                return
            work = partial(prepare_each, view=self.spec.input, invert=self._invert, strict=strict)
            ready_for_all = map(partial(light, channels=self.spec.input.channels), together)
            for ready in in_order(work, ready_for_all, processes=True):
                yield from self._answers_between(*ready)

    def _run(self, pixels: Pixels) -> Array:
        """The output tensor for ready pixels, from an engine that nobody else uses meanwhile."""
        try:
            engine = self._idle.pop()
        except IndexError:
            engine = self._another()
        q_answers = engine.invoke(self.encode(pixels))
        if q_answers.size != len(pixels):
            raise ModelError(
                f"{self.spec.name} gives an output {q_answers.shape} for {len(pixels)} pictures; expected "
                f"({len(pixels)}, 1). The file is damaged."
            )
        self._idle.append(engine)
        return q_answers

    def _answer_chunk(self, chunk: Any, strict: bool) -> list[Prediction | DataError]:
        """The answers for a few pictures; unless `strict`, the error of a bad one stands in its place."""
        ready = self._stacked(chunk)
        if ready is not None:
            return self._answers_for(ready)
        return self._answers_between(*prepare_each(chunk, self.spec.input, self._invert, strict))

    def _answers_between(self, pixels: Pixels, errors: dict[int, DataError]) -> list[Prediction | DataError]:
        """The answers for ready pixels, with those for pictures that are not among them, by position, in between."""
        outcomes = self._answers_for(pixels) if len(pixels) else []
        for position, error in errors.items():
            outcomes.insert(position, blank(error) if isinstance(error, BlankError) else error)
        return outcomes

    def _stacked(self, chunk: Any) -> Pixels | None:
        """The pictures as one array, uint8 (N, *spec.input.shape), where they need no preprocessing."""
        if isinstance(chunk, np.ndarray):
            stacked = chunk
        else:
            if not all(isinstance(p, np.ndarray) and p.shape in self._ready for p in chunk):
                return None
            stacked = np.concatenate([p[self._ready[p.shape]] for p in chunk])
        if stacked.shape[1:] not in self._ready or stacked.dtype != np.uint8:
            return None
        stacked = stacked.reshape(-1, *self.spec.input.shape)
        return stacked if all_plain(stacked) else None

    def _answers_for(self, pixels: Pixels) -> list[Prediction | DataError]:
        """The answers for ready pixels."""
        q_answers = self._run(pixels)
        if self._answers:
            return list(map(self._answers.__getitem__, q_answers.ravel().tolist()))
        return [self._answer(p) for p in decode(q_answers, self.engine.output).tolist()]

    def _answer(self, p: float) -> Prediction:
        """The answer for probability `p` of label 1.

        Raises:
            ModelError: it is none.
        """
        if not 0.0 <= p <= 1.0:
            raise ModelError(
                f"{self.spec.name} answers {p:g}, which is no probability: the model must end in a sigmoid, or be "
                "exported with --from-logits."
            )
        label = self.spec.labels[int(p > self.spec.threshold)]
        said = min(max(p, self._gap), 1.0 - self._gap)
        scores = MappingProxyType(dict(zip(self.spec.labels, (1.0 - said, said), strict=True)))
        sure = scores[label]
        if sure < self._min_confidence:
            reason = f"{sure:.4f} for {label} is under the asked confidence, {self._min_confidence:g}"
            most = f", and {1.0 - self._gap:.4f} is the most that its quantized output can say"
            return Prediction(UNCERTAIN, sure, scores, f"{reason}{most if sure == 1.0 - self._gap else ''}.")
        return Prediction(label, sure, scores)


def blank(error: BlankError) -> Prediction:
    """The answer for a picture with nothing on it."""
    return Prediction(UNCERTAIN, 0.0, MappingProxyType({}), str(error))


def _gap(output: TensorInfo) -> float:
    """How far the probabilities of a quantized output end from 0 or 1, at the end where they end earlier; 0 for others.

    With 256 steps of 1/256 from 0 they end at 255/256. What is said of one label is said of the other, so 1/256 is the
    least: 0 would claim more than an output can that has no 1. An output that ends earlier than that is left alone.
    """
    if output.scale == 0.0:
        return 0.0
    limits = np.iinfo(output.dtype)
    low, high = decode(np.array([limits.min, limits.max], output.dtype), output).tolist()
    gap = max(low, 1.0 - high, 0.0)
    return gap if gap < 1.5 * output.scale else 0.0


def _closed() -> Engine:
    raise closed()
