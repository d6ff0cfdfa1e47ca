"""Pins that follow the answer, on gpiozero's own mock of a Pi."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from oddeven.runtime.device.gpio import open_pins
from oddeven.runtime.errors import MissingPackageError, UsageError

LABELS = ("even", "odd", "uncertain")


@pytest.fixture
def factory(monkeypatch):
    gpiozero = pytest.importorskip("gpiozero")
    mock = pytest.importorskip("gpiozero.pins.mock").MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", mock)
    return mock


def test_a_pin_is_on_while_its_label_is_the_answer(factory):
    with open_pins({"odd": "17", "uncertain": "BOARD13"}, LABELS) as show:
        odd, uncertain = factory.pin("GPIO17"), factory.pin("GPIO27")  # 13 on the header is 27
        states = []
        for label in ("odd", "odd", "even", "uncertain", "odd"):
            show(label)
            states.append((odd.state, uncertain.state))
        assert states == [(1, 0), (1, 0), (0, 0), (0, 1), (1, 0)]
    assert (odd.state, uncertain.state) == (0, 0)


@pytest.mark.parametrize("wiring", [{"green": "17"}, {"odd": "99"}, {"odd": "nonsense"}, {"odd": "17", "even": "17"}])
def test_what_cannot_be_driven_is_refused(factory, wiring):
    with pytest.raises(UsageError), open_pins(wiring, LABELS):
        pass


def test_without_gpiozero_the_pip_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'oddeven\[gpio\]'"), open_pins({"odd": "17"}, LABELS):
        pass
    with open_pins({}, LABELS):
        pass


def test_watch_and_camera_drive_them(pictures, run, tmp_path):
    pytest.importorskip("gpiozero")
    pictures(2)
    watch = ("watch", tmp_path / "inbox", "--out", tmp_path / "out.jsonl", "--once", "--on-label")
    assert run(*watch, "odd").returncode == 2
    assert run(*watch, "green=17", env={**os.environ, "GPIOZERO_PIN_FACTORY": "mock"}).returncode == 2
    code = f"""
import sys, gpiozero
from gpiozero.pins.mock import MockFactory
gpiozero.Device.pin_factory = MockFactory()
states = []
gpiozero.pins.mock.MockPin._change_state = lambda pin, value, change=gpiozero.pins.mock.MockPin._change_state: (
    states.append((pin.info.name, int(value))), change(pin, value))[1]
sys.argv = ["oddeven", *{[*map(str, watch), "odd=17"]!r}]
from oddeven.runtime.cli.main import main
try:
    main()
finally:
    print(states)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[('GPIO17', 0), ('GPIO17', 1), ('GPIO17', 0), ('GPIO17', 0)]"
