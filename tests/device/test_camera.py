"""`oddeven camera` on a video of real test images, on a camera that is lost, and on none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from concurrent.futures import TimeoutError as NoFrame

import numpy as np
import pytest

from oddeven.runtime import Classifier
from oddeven.runtime.device import capture
from oddeven.runtime.device.capture import classify_frames, open_source
from oddeven.runtime.errors import DataError, MissingPackageError

DIGITS = [0, 1, 2, 3, 4, 5]  # of the test images: 7 2 1 0 4 1


def test_a_video_of_test_images_is_answered_frame_by_frame(video, run, raw):
    path = video(DIGITS, each=2)
    done = run("camera", "--source", path, "--json", "--patience", "1")
    assert done.returncode == 0, done.stderr
    frames = [json.loads(line) for line in done.stdout.splitlines()]
    assert [frame["label"] for frame in frames] == [
        "odd" if raw["y_test"][n] % 2 else "even" for n in DIGITS for _ in "ab"
    ]
    assert [frame["steady"] for frame in frames] == [frame["label"] for frame in frames]
    assert [frame["frame"] for frame in frames] == list(range(1, 13))
    assert all(frame[stage] > 0 for frame in frames for stage in ("capture_ms", "prepare_ms", "infer_ms"))


def test_the_steady_label_changes_when_enough_frames_agree(video, run):
    frames = [0, 0, 0, 1, 0, 1, 1, 1, 0]  # odd but for 1, which is even
    done = run("camera", "--source", video(frames), "--json", "--patience", "3")
    steady = [json.loads(line)["steady"] for line in done.stdout.splitlines()]
    assert steady == ["uncertain"] * 2 + ["odd"] * 5 + ["even"] * 2
    done = run("camera", "--source", video(frames), "--patience", "3")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["uncertain", "odd", "even"]
    assert len(run("camera", "--source", video(frames), "--json", "--frames", "4").stdout.splitlines()) == 4


def test_what_is_no_camera_is_one_sentence(run, tmp_path):
    for source in ("/dev/video99", "99", "9" * 20, tmp_path / "none.avi"):
        done = run("camera", "--source", source)
        assert done.returncode == 5
        assert len(done.stderr.splitlines()) == 1
    (tmp_path / "text.avi").write_text("no video")
    done = run("camera", "--source", tmp_path / "text.avi")
    assert done.returncode == 5
    assert done.stderr.endswith("text.avi cannot be opened as a camera or video.\n")
    assert run("camera", "--source", tmp_path / "text.avi", "--frames", "9" * 20).returncode == 2
    code = "from oddeven.runtime.device.capture import open_source; open_source('99').__enter__()"
    (tmp_path / "99").write_text("no video")  # in a script of one's own OpenCV keeps quiet as well
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "99 cannot be opened as a camera or video" in done.stderr
    assert "WARN" not in done.stderr + done.stdout


def test_neither_an_empty_source_nor_a_pipe_is_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = run("camera", "--source", tmp_path / "pipe", "--model", "mlp", "--frames", "1", timeout=60)
    assert done.returncode == 5
    assert "pipe is a pipe; name a camera or a video file." in done.stderr
    for command in (("camera", "--source"), ("serve", "mlp", "--camera")):
        done = run(*command, "", timeout=60)
        assert (done.returncode, done.stderr.splitlines()[-1].split(": ", 1)[1]) == (
            2,
            f"Invalid value for '{command[-1]}': it is empty.",
        )


def test_without_opencv_the_pip_line_is_given(video):
    code = (
        "import sys; sys.modules['cv2'] = None; sys.argv = ['oddeven', 'camera', '--source', '0']\n"
        "from oddeven.runtime.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'oddeven[camera]'" in done.stderr) == (3, True)


def test_a_v4l2_camera_that_is_lost_says_so(monkeypatch, raw):
    cv2 = pytest.importorskip("cv2")
    frame = np.repeat(raw["x_test"][0][..., None], 3, axis=-1)
    taken = [(True, frame)] * 3 + [(False, None)]
    released = []
    fake = types.SimpleNamespace(
        isOpened=lambda: True, read=lambda: taken.pop(0), set=lambda *_: True, release=lambda: released.append(True)
    )
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: fake)
    with Classifier.load("mlp") as classifier, open_source("0") as frames:
        found = classify_frames(classifier, frames)
        assert [next(found).prediction.label for _ in range(3)] == ["odd"] * 3
        with pytest.raises(DataError, match="is lost"):
            next(found)
    assert released == [True]


class FakePicamera2:
    """Picamera2's documented calls, for three frames; then none comes."""

    def __init__(self):
        self.left, self.closed = 3, False
        FakePicamera2.last = self

    def create_video_configuration(self, main):
        assert main["format"] == "BGR888"  # which is red, green, blue in memory
        return main

    def configure(self, configuration):
        self.size = configuration["size"]

    def start(self):
        pass

    def capture_array(self, name, wait):
        return (name, wait)

    def wait(self, job, timeout):
        assert job == ("main", False)
        if not self.left:
            raise NoFrame
        self.left -= 1
        return np.zeros((self.size[1], self.size[0], 3), np.uint8)

    def close(self):
        self.closed = True


def test_picamera2_gives_frames_and_is_closed_when_it_is_lost(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=FakePicamera2))
    with Classifier.load("mlp") as classifier, open_source("picamera2") as frames:
        found = classify_frames(classifier, frames)
        assert [next(found).prediction.label for _ in range(3)] == ["uncertain"] * 3  # nothing to see
        with pytest.raises(DataError, match="is lost"):
            next(found)
    assert FakePicamera2.last.closed


def test_without_picamera2_apt_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingPackageError, match="apt install python3-picamera2"), open_source("picamera2"):
        pass
    assert capture.default_source() == "0"


def test_memory_stays_flat_over_ten_thousand_frames(video):
    path = video([0, 1, 2, 3] * 2500, scale=1, codec="MJPG")
    code = f"""
from oddeven.runtime import Classifier
from oddeven.runtime.device.capture import classify_frames, open_source
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
with Classifier.load("mlp") as classifier, open_source({str(path)!r}) as frames:
    for frame in classify_frames(classifier, frames, 3):
        if frame.number == 1000:
            before = resident()
    print(frame.number, resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == 10_000
    # A picture that is kept would be 784 bytes a frame, 7 MB in all; what the allocators need to settle is far less.
    assert grown < 2_000_000
