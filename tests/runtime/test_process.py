"""What a command does to its own process, and that a library does none of it."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import threading

import pytest

from oddeven.runtime import process
from oddeven.runtime.errors import ModelError
from oddeven.runtime.process import quiet, try_first

MLP = "import threading, sys, os\nfrom oddeven.runtime import Classifier\n"


@pytest.fixture
def own(monkeypatch):
    """This process as a command's own."""
    monkeypatch.setattr(process, "OWN", threading.Event())
    process.OWN.set()


@pytest.mark.usefixtures("own")
def test_what_is_written_is_shown_only_where_it_fails(capfd):
    with quiet():
        os.write(1, b"chatter")
    assert capfd.readouterr() == ("", "")

    def fail():
        with quiet():
            os.write(1, b"the reason")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capfd.readouterr() == ("", "the reason")


@pytest.mark.usefixtures("own")
def test_a_thread_that_wants_silence_takes_nothing_from_the_others(capfd):
    inside, written = threading.Event(), threading.Event()

    def load():
        with quiet():
            inside.set()
            assert written.wait(60)

    thread = threading.Thread(target=load)
    thread.start()
    assert inside.wait(60)
    os.write(1, b"an answer")
    written.set()
    thread.join()
    assert capfd.readouterr() == ("an answer", "")


def test_a_library_takes_nothing_from_anybody(capfd):
    with quiet():
        os.write(1, b"an answer")
    assert capfd.readouterr() == ("an answer", "")


def test_loading_a_model_loses_no_line_of_another_thread():
    code = MLP + (
        "stop = threading.Event()\n"
        "count = 0\n"
        "def write():\n"
        "    global count\n"
        "    while not stop.is_set():\n"
        "        os.write(1, b'line\\n'); count += 1\n"
        "thread = threading.Thread(target=write); thread.start()\n"
        "for _ in range(20):\n"
        "    Classifier.load('mlp').close()\n"
        "stop.set(); thread.join(); os.write(2, b'\\ncount %d' % count)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("line\n") == int(done.stderr.rsplit(" ", 1)[1])


def test_closed_streams_are_no_error(digit, tmp_path):
    """The library leaves them alone; in a command they lead nowhere, not into a file that is opened next."""
    command = f"{sys.executable} -m oddeven.runtime predict {digit} {tmp_path}/absent.png --json"
    library = f"{sys.executable} -c \"{MLP}Classifier.load('mlp').predict(sys.argv[1])\" {digit}"
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"):
        assert subprocess.run(f"{command} {closed}", shell=True, check=False, capture_output=True).returncode == 5
        subprocess.run(f"{library} {closed}", shell=True, check=True, capture_output=True)
    answered = subprocess.run(f"{command} 2>&-", shell=True, check=False, capture_output=True)
    assert b'"odd"' in answered.stdout
    nothing = subprocess.run(f"{command} - <&-", shell=True, check=False, capture_output=True, text=True)
    assert "nothing on stdin" in nothing.stderr


@pytest.mark.usefixtures("own")
def test_what_crashes_is_tried_by_a_child(tmp_path):
    def crash():
        faulthandler.disable()  # pytest's would print where
        os.abort()

    with pytest.raises(ModelError, match=r"model\.tflite crashes its engine \(SIGABRT\)"):
        try_first(crash, tmp_path / "model.tflite")

    def fail():
        raise ValueError("is raised once more where it is caught")

    try_first(fail, tmp_path / "model.tflite")


@pytest.mark.usefixtures("own")
def test_what_an_engine_refuses_in_a_child_is_not_tried_again(tmp_path):
    """The same bytes may crash it the second time."""
    here = os.getpid()

    def refuse():
        if os.getpid() == here:
            os.abort()
        raise ModelError("model.tflite: the engine cannot load it (größer).")

    with pytest.raises(ModelError, match=r"^model\.tflite: the engine cannot load it \(größer\)\.$"):
        try_first(refuse, tmp_path / "model.tflite")


def test_a_library_tries_nothing_out(tmp_path):
    try_first(os.abort, tmp_path / "model.tflite")
