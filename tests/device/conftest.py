"""What the device's tests share: pictures, and a process that is ended whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path, raw):
    """A function that fills a folder with so many test digits, written long ago; gives the expected label of each."""
    from oddeven.runtime import Classifier

    def fill(count, folder=tmp_path / "inbox", model="mlp"):
        folder.mkdir(exist_ok=True)
        for number in range(count):
            path = folder / f"{number:05}.png"
            Image.fromarray(raw["x_test"][number]).save(path)
            os.utime(path, (1e9 + number, 1e9 + number))
        with Classifier.load(model) as classifier:
            answers = classifier.predict_batch(raw["x_test"][:count])
            return {f"{number:05}.png": answer.label for number, answer in enumerate(answers)}

    return fill


@pytest.fixture
def start(tmp_path):
    """Start the real command line and go on, what it says in `stderr.txt`; it is killed at the end of the test."""
    running = []

    def begin(*arguments):
        command = [sys.executable, "-m", "oddeven.runtime", *map(str, arguments)]
        with (tmp_path / "stderr.txt").open("ab") as said:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def video(tmp_path, raw):
    """A function that writes test digits, each for so many frames, as a lossless video; gives its path."""
    cv2 = pytest.importorskip("cv2")

    def write(digits, each=1, scale=4, codec="png ", name="digits.avi"):
        path = tmp_path / name
        side = 28 * scale
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25.0, (side, side))
        assert writer.isOpened()
        for number in digits:
            frame = np.kron(raw["x_test"][number], np.ones((scale, scale), np.uint8))
            for _ in range(each):
                writer.write(np.repeat(frame[..., None], 3, axis=-1))
        writer.release()
        return path

    return write
