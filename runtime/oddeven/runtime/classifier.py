"""The three-line API: load a model, give it an image, read the prediction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np

from oddeven.runtime.arrays import Array, Familiarities, Pixels, Probabilities
from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.engines.contract import Engine, closed
from oddeven.runtime.engines.metadata import read_model
from oddeven.runtime.engines.quantization import decode, dequantize, encoder, range_gap
from oddeven.runtime.engines.registry import AUTO, MOST_THREADS, check_familiarity, open_read, select
from oddeven.runtime.errors import BlankError, DataError, ModelError, UsageError, choose
from oddeven.runtime.familiarity import familiarities
from oddeven.runtime.images.decode import ImageLike, decode_image, picklable
from oddeven.runtime.images.parallel import chunks_of, in_order
from oddeven.runtime.images.preprocess import INVERSIONS, prepare, prepare_each
from oddeven.runtime.images.ready import ReadyImages, check_ready
from oddeven.runtime.overrides import check_number, overridden, with_limits
from oddeven.runtime.prediction import Prediction, blank_prediction, decide, with_familiarity
from oddeven.runtime.spec import ModelSpec

CHUNK_BYTES = 256 * 28 * 28  # above it a larger batch is no faster on any engine
ON_ERROR = ("raise", "return")
Name = TypeVar("Name")


class Classifier:
    """An open model that classifies images. Close it, or use it in a `with` statement.

    Threads may share one: a call that finds all its engines busy opens another.

    Attributes:
        engine: the first one; what runs the model.
        spec: its labels and threshold, and what image it takes.
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
        self._idle, self._another, self._invert = [engine], another, invert
        self._chunk = max(1, CHUNK_BYTES // max(784, int(np.prod(spec.input.shape))))
        self._ready = ReadyImages(spec.input, invert)
        self._min_confidence = min_confidence
        self.use_threshold(spec.threshold)

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
        locale: str | None = None,
        min_familiarity: float | None = None,
    ) -> Classifier:
        """Open a model.

        Args:
            model: the path of a model file or of an artifact folder, or, where there is no such path, a name in
                `oddeven.runtime.artifacts.resolve.bundled()`; None for the bundled deep_cnn.
            engine: a name in `oddeven.runtime.engines.registry.ENGINES`, or `auto` for the first installed one that
                reads the file.
            threads: for one image; more than one helps only where an image takes longer than about 0.1 ms.
                `predict_batch` uses all cores in any case.
            spec: for a file that carries none.
            preprocess: a name in `oddeven.runtime.images.preprocess.PREPROCESSINGS` instead of the spec's.
            invert: `yes`, `no`, or `auto` to find out from the image where the spec's polarity matters.
            threshold: instead of the spec's.
            min_confidence: a prediction of lower probability is `UNCERTAIN`; 0 to 1.
            locale: a key of the spec's `display_names`, whose names then are the labels.
            min_familiarity: instead of the spec's; a less familiar image is `UNKNOWN`, 0 to 1, and none is at 0.

        Raises:
            UsageError: neither a bundled model nor a file has that name, the engine does not read the file, or an
                option is unknown or out of range.
            MissingPackageError: no engine for that file is installed.
            ModelError: the file is damaged, or carries no spec and none is given.
        """
        choose("inversion", invert, INVERSIONS)
        check_number("min_confidence", min_confidence)
        check_number("threads", threads, whole=True)
        if not 0.0 <= min_confidence <= 1.0:
            raise UsageError(f"min_confidence is {min_confidence}; expected a probability, from 0 to 1.")
        if not 1 <= threads <= MOST_THREADS:
            raise UsageError(f"threads is {threads}; expected 1 to {MOST_THREADS}.")
        path = locate(model)
        chosen, file = select(path, engine), read_model(path)
        if path.suffix == ".tflite":
            file.spec_or(spec)  # a file that was cut off has lost its spec first, and tflite-runtime would crash on it
        open_another = partial(open_read, file, chosen, int(threads))
        opened = open_another()
        found = opened.spec or file.spec_or(spec)
        check_familiarity(path, opened, found)
        taken, given = opened.input.shape[1:], found.input.shape
        if any(ours not in (-1, theirs) for ours, theirs in zip(taken, given, strict=True)):
            raise UsageError(f"{path} takes {taken} images, the given spec's are {given}.")
        found = overridden(found, path, preprocess, threshold, locale, min_familiarity)
        return cls(opened, found, open_another, invert, min_confidence)

    def predict(self, image: ImageLike) -> Prediction:
        """The prediction for one image; `UNCERTAIN` for a blank one, `UNKNOWN` for one of another kind.

        Args:
            image: a path, a file's bytes, a PIL image, or decoded pixels, uint8 (H, W) or (H, W, C), as an array or
                as anything with `__array__`.

        Raises:
            DataError: the image cannot be read, is not uint8 pixels, or is none of these.
            ModelError: the engine fails, or its output is not a probability, or its second one not a number.
        """
        pixels = self._ready.one(image)
        if pixels is None:
            try:
                pixels = self.prepare(image)[np.newaxis]
            except BlankError as error:
                return blank_prediction(error)
        return next(self._predictions(self._run(pixels)))

    @overload
    def predict_batch(self, images: Iterable[ImageLike]) -> Iterator[Prediction]: ...
    @overload
    def predict_batch(
        self, images: Iterable[ImageLike], errors: Literal["return"]
    ) -> Iterator[Prediction | DataError]: ...
    def predict_batch(
        self, images: Iterable[ImageLike], errors: Literal["raise", "return"] = "raise"
    ) -> Iterator[Prediction | DataError]:
        """The predictions for many images, in order, as they come.

        Chunks are decoded and classified side by side, one a core; memory stays at a few chunks.

        Args:
            images: as `predict` takes them; an array of ready ones, uint8 (N, H, W) or (N, H, W, C), is fastest.
            errors: `raise`, or `return` to give the `DataError` of a bad image in its place.

        Raises:
            UsageError: at once, where `errors` is neither, or `images` is a single image.
            DataError: as `predict`.
        """
        choose("way to handle errors", errors, ON_ERROR)
        many = hasattr(images, "__iter__") or hasattr(images, "__getitem__")
        if isinstance(images, (str, bytes)) or not many:
            raise UsageError(f"predict_batch takes many images, got one {type(images).__name__}; give a list.")
        return self._predict_chunks(images, errors == "raise")

    def predict_named(self, images: Iterable[tuple[Name, ImageLike]]) -> Iterator[tuple[Name, Prediction | DataError]]:
        """The predictions of `predict_batch` for images that come with names, each with its image's name."""
        names: deque[Name] = deque()

        def unnamed() -> Iterator[ImageLike]:
            for name, image in images:
                names.append(name)
                yield image

        for outcome in self.predict_batch(unnamed(), errors="return"):
            yield names.popleft(), outcome

    def probabilities(self, pixels: Pixels) -> Probabilities:
        """Probability of label 1, float32 (N,), for pixels as `predict_ready` takes them."""
        return self.scores(pixels)[0]

    def scores(self, pixels: Pixels) -> tuple[Probabilities, Familiarities | None]:
        """Probability of label 1 and, where the file has it, familiarity, float32 (N,), for pixels as `predict_ready`.

        Raises:
            DataError, ModelError: as `predict_ready`.
        """
        parts = list(self._run_ready(pixels))
        p = np.concatenate([np.empty(0, np.float32), *(decode(part[0], self.engine.output) for part in parts)])
        if not (info := self.engine.familiarity) or not self.spec.familiarity:
            return p, None
        raw = np.concatenate([np.empty(0, np.float32), *(dequantize(part[1], info) for part in parts)])
        return p, familiarities(raw, self.spec.familiarity)

    def prepare(self, image: ImageLike) -> Pixels:
        """`image` as the model takes it: uint8 of `spec.input.shape`.

        Raises:
            BlankError: the image is blank.
            DataError: as `predict`.
        """
        return prepare(decode_image(image, self.spec.input.channels), self.spec.input, self._invert)

    def predict_ready(self, pixels: Pixels) -> list[Prediction]:
        """The predictions for pixels that are ready: uint8 (N, *spec.input.shape).

        Raises:
            DataError: they are of another shape or type.
            ModelError: as `predict`.
        """
        return [prediction for part in self._run_ready(pixels) for prediction in self._predictions(part)]

    def use_threshold(self, threshold: float) -> None:
        """Decide by another threshold from now on, in every thread.

        Raises:
            UsageError: it does not lie between 0 and 1.
        """
        spec, engine = with_limits(self.spec, threshold=threshold), self.engine
        gap = range_gap(engine.output)
        self.spec, self._decide = spec, partial(decide, spec=spec, gap=gap, min_confidence=self._min_confidence)
        self._by_level: Callable[..., Prediction] | None = None
        if all(info.dtype == "uint8" for info in (engine.output, engine.familiarity) if info):
            self._by_level = cache(lambda *levels: next(self._from_outputs(*np.array(levels, np.uint8)[:, np.newaxis])))

    def close(self) -> None:
        """Free the model; any later call is a `UsageError`."""
        self._another = _closed
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict_chunks(self, images: Iterable[ImageLike], strict: bool) -> Iterator[Prediction | DataError]:
        chunks = chunks_of(images, self._chunk)
        prepare_chunk = partial(prepare_each, spec=self.spec.input, invert=self._invert, strict=strict)

        def predict_arrays(chunk: Any) -> list[Prediction | DataError]:
            ready = self._ready.stack(chunk)
            return self._predict_stacked(*(prepare_chunk(chunk) if ready is None else (ready, {})))

        for first in chunks:
            all_chunks = chain([first], chunks)
            if all(isinstance(image, np.ndarray) for image in first):
                yield from chain.from_iterable(in_order(predict_arrays, all_chunks))
            else:
                portable = (picklable(chunk, self.spec.input.channels) for chunk in all_chunks)
                for prepared in in_order(prepare_chunk, portable, processes=True):
                    yield from self._predict_stacked(*prepared)

    def _run_ready(self, pixels: Pixels) -> Iterator[tuple[Array, ...]]:
        """The output tensors for each chunk of ready pixels, once these are known to be so."""
        check_ready(pixels, self.spec.input.shape)
        return in_order(self._run, chunks_of(pixels, self._chunk))

    def _run(self, pixels: Pixels) -> tuple[Array, ...]:
        """The output tensors for ready pixels, from an engine that no other thread uses meanwhile."""
        try:
            engine = self._idle.pop()
        except IndexError:
            engine = self._another()
        count, q_outputs = len(pixels), engine.invoke(self.encode(pixels))
        for shape in (q_output.shape for q_output in q_outputs if q_output.size != count):
            came = f"{self.spec.name} gives an output {shape} for {count} images"
            raise ModelError(f"{came}; expected ({count}, 1). The file is damaged.")
        self._idle.append(engine)
        if self._another is _closed:  # by another thread meanwhile
            self.close()
        return q_outputs

    def _predictions(self, q_outputs: tuple[Array, ...]) -> Iterator[Prediction]:
        """The predictions that output tensors stand for."""
        if self._by_level:
            return map(self._by_level, *(q_output.ravel().tolist() for q_output in q_outputs))
        return self._from_outputs(*q_outputs)

    def _from_outputs(self, q_output: Array, q_raw: Array | None = None) -> Iterator[Prediction]:
        predictions = map(self._decide, decode(q_output, self.engine.output).tolist())
        if q_raw is None or not self.engine.familiarity or not self.spec.familiarity:
            return predictions
        known = familiarities(dequantize(q_raw, self.engine.familiarity), self.spec.familiarity)
        least = float(np.float32(self.spec.min_familiarity))  # as precise as what it is compared with
        return map(partial(with_familiarity, least=least), predictions, known.tolist())

    def _predict_stacked(self, pixels: Pixels, errors: dict[int, DataError]) -> list[Prediction | DataError]:
        """The predictions for ready pixels, and between them, by position, the errors of the other images."""
        outcomes: list[Prediction | DataError] = []
        if len(pixels):
            outcomes = list(self._predictions(self._run(pixels)))
        for position, error in errors.items():
            outcomes.insert(position, blank_prediction(error) if isinstance(error, BlankError) else error)
        return outcomes


def _closed() -> Engine:
    raise closed()
