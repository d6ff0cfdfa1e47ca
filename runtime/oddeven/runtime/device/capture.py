"""Frames of a camera or a video, and their predictions."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError as NoFrame
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.errors import BlankError, DataError, extra, needing
from oddeven.runtime.images.decode import ImageLike
from oddeven.runtime.prediction import UNCERTAIN, Prediction, blank_prediction
from oddeven.runtime.process import quiet

PICAMERA2 = "picamera2"
APT = "sudo apt install python3-picamera2, and use a virtual environment made with --system-site-packages."
SIZE = (640, 480)
NUMBER = re.compile("[0-9]{1,9}")  # of a camera; OpenCV takes those of 32 bits
LOST_SECONDS = 5.0


@dataclass(frozen=True)
class Frame:
    """A classified frame.

    Attributes:
        number: of the frame, from 1.
        prediction: for this frame alone.
        steady: the last label that enough frames in a row agreed on.
        pixels: what the model saw, uint8 of its input's shape; None for a blank frame.
        capture_ms, prepare_ms, infer_ms: how long each stage took.
    """

    number: int
    prediction: Prediction
    steady: str
    pixels: Pixels | None
    capture_ms: float
    prepare_ms: float
    infer_ms: float


def default_source() -> str:
    """The camera to use where none is named: the Pi's own through picamera2, else the first V4L2 device."""
    return PICAMERA2 if importlib.util.find_spec(PICAMERA2) else "0"


def open_source(source: str) -> AbstractContextManager[Iterator[Pixels]]:
    """The frames of `source`, uint8 (height, width, 3) in RGB.

    Args:
        source: `picamera2`, the number or path of a V4L2 device, or a video file, which ends.

    Raises:
        MissingPackageError: the package that reads it is not installed.
        DataError: it cannot be opened, or it is lost while it is read.
    """
    if Path(source).is_fifo():  # opening it waits
        raise DataError(f"{source} is a pipe; name a camera or a video file.")
    return _picamera2() if source == PICAMERA2 else _opencv(source)


def classify_frames(classifier: Classifier, frames: Iterable[Pixels], patience: int = 1) -> Iterator[Frame]:
    """Classify `frames`, as they come.

    Args:
        patience: debouncing: the steady label changes when this many frames in a row agree on another.
    """
    steady, candidate, agreeing = UNCERTAIN, UNCERTAIN, 0
    start = time.perf_counter()
    for number, frame in enumerate(frames, 1):
        captured = time.perf_counter()
        prediction, pixels, prepared = predict_seen(classifier, toned(frame, classifier.spec.input.channels))
        inferred = time.perf_counter()
        agreeing = agreeing + 1 if prediction.label == candidate else 1
        candidate = prediction.label
        if agreeing >= patience:
            steady = candidate
        stages = (1e3 * seconds for seconds in (captured - start, prepared - captured, inferred - prepared))
        yield Frame(number, prediction, steady, pixels, *stages)
        start = time.perf_counter()


def predict_seen(classifier: Classifier, image: ImageLike) -> tuple[Prediction, Pixels | None, float]:
    """The prediction for an image, what the model saw, uint8 of its input's shape, and when, by `time.perf_counter`.

    It saw nothing, None, of a blank image.

    Raises:
        DataError, ModelError: as `Classifier.predict`.
    """
    try:
        pixels = classifier.prepare(image)
    except BlankError as error:
        return blank_prediction(error), None, time.perf_counter()
    prepared = time.perf_counter()
    (prediction,) = classifier.predict_ready(pixels[np.newaxis])
    return prediction, pixels, prepared


def toned(frame: Pixels, channels: int) -> Pixels:
    """An RGB frame with as many channels as the model wants, by the same arithmetic as an image file."""
    return frame if channels == 3 else np.asarray(Image.fromarray(frame).convert("L"))


@contextmanager
def _picamera2() -> Iterator[Iterator[Pixels]]:
    with needing("A Raspberry Pi camera", APT), quiet():
        from picamera2 import Picamera2
    try:
        camera = Picamera2()
        # The name is the order of bits in a word: in memory it is red, green, blue.
        camera.configure(camera.create_video_configuration(main={"size": SIZE, "format": "BGR888"}))
        camera.start()
    except (RuntimeError, IndexError) as error:
        raise DataError(f"picamera2 found no camera ({error}); check the cable, and try: rpicam-hello") from error

    def frames() -> Iterator[Pixels]:
        while True:
            try:
                yield camera.wait(camera.capture_array("main", wait=False), timeout=LOST_SECONDS)
            except (NoFrame, RuntimeError) as error:
                raise DataError(f"The camera is lost: no frame for {LOST_SECONDS:g} s; check its cable.") from error

    try:
        yield frames()
    finally:
        camera.close()


@contextmanager
def _opencv(source: str) -> Iterator[Iterator[Pixels]]:
    with needing("A V4L2 camera or a video", extra("camera")):
        import cv2
    is_number, is_file = NUMBER.fullmatch(source), Path(source).is_file()
    if not (is_file or is_number or Path(source).exists()):
        raise DataError(f"There is no camera or video {source}; cameras are listed by: v4l2-ctl --list-devices")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # or each backend prints its opinion
    capture = cv2.VideoCapture(int(source) if is_number else source)
    cv2.utils.logging.setLogLevel(level)

    def frames() -> Iterator[Pixels]:
        read = True
        while read:
            read, frame = capture.read()
            if read:
                yield np.ascontiguousarray(frame[..., ::-1])
        if not is_file:
            raise DataError(f"The camera {source} is lost: it gives no more frames; check its cable.")

    try:
        if not capture.isOpened():
            busy = "; another program may be using it" if is_number or Path(source).is_char_device() else ""
            raise DataError(f"{source} cannot be opened as a camera or video{busy}.")
        if not is_file:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the present frame, not one that waited
        yield frames()
    finally:
        capture.release()
