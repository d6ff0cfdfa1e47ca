"""Silence for libraries, and for nobody else."""

from __future__ import annotations

import os
import threading

import pytest

from oddeven.runtime.quiet import quiet


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
