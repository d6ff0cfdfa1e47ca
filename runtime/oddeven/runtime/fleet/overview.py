"""What is out there: the table of a fleet, from what its devices left with the broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oddeven.runtime.errors import DataError
from oddeven.runtime.fleet.broker import Broker, new_client
from oddeven.runtime.page import render_page

TEMPLATE = Path(__file__).parent / "templates" / "fleet.html"
CONNECT_S = 10.0
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass
class Device:
    """What a device last said; anything in it may be missing or nonsense, for anybody may publish to a broker."""

    name: str
    available: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


# Title -> what stands below it, of a device and the time now.
COLUMNS: Mapping[str, Callable[[Device, float], str]] = {
    "device": lambda device, _: _text(device.name),
    "host": lambda device, _: _text(device.about.get("host")),
    "state": lambda device, _: "online" if device.available else "offline",
    "last seen": lambda device, now: _age(device.about.get("time"), now),
    "model": lambda device, _: _model(device.about),
    "release": lambda device, _: _text(device.about.get("release")),
    "engine": lambda device, _: _text(device.about.get("engine")),
    "labels": lambda device, _: _shares(device.about.get("labels")),
    "drift": lambda device, _: _drift(device.about.get("drift")),
    "latency ms": lambda device, _: _text(device.about.get("latency_ms")),
    "°C": lambda device, _: _text(device.about.get("temperature_c")),
    "self-test": lambda device, _: _text(device.about.get("selftest")),
}
HEADER = tuple(COLUMNS)


def listen(broker: Broker, seconds: float) -> list[Device]:
    """The devices that have left a word with the broker, by name, after listening for so long.

    Raises:
        DataError: the broker is not there or refuses.
        MissingPackageError: paho-mqtt is not installed.
    """
    devices: dict[str, Device] = {}
    answered, reasons = threading.Event(), [broker.unreachable]
    client = new_client(broker, "")

    def connected(client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        reasons[:] = [str(reason)] if reason.is_failure else []
        for what in ("availability", "about"):
            client.subscribe(f"{broker.topic}/+/{what}", qos=1)
        answered.set()

    def received(client: Any, userdata: Any, message: Any) -> None:
        *_, name, what = message.topic.split("/")
        device = devices.setdefault(name, Device(name))
        if what == "availability":
            device.available = message.payload == b"online"
            return
        try:
            about = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        device.about = about if isinstance(about, dict) else {}

    client.on_connect, client.on_message = connected, received
    client.loop_start()
    if answered.wait(CONNECT_S) and not reasons:
        time.sleep(seconds)
    client.disconnect()
    client.loop_stop()
    if reasons:
        raise DataError(f"The broker {broker.host}:{broker.port} does not answer: {reasons[0]}.")
    return sorted(devices.values(), key=lambda device: device.name)


def rows(devices: list[Device], now: float) -> list[tuple[str, ...]]:
    """A row of `HEADER` for each device."""
    return [tuple(cell(device, now) for cell in COLUMNS.values()) for device in devices]


def to_html(devices: list[Device], topic: str, now: float) -> str:
    """The table as a page that needs nothing else.

    Raises:
        MissingPackageError: Jinja2 is not installed.
    """
    return render_page(
        TEMPLATE,
        header=HEADER,
        rows=rows(devices, now),
        topic=topic,
        online=sum(device.available for device in devices),
        time=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)),
    )


def _text(value: Any) -> str:
    shown = "-" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in shown[:40])


def _model(about: Mapping[str, Any]) -> str:
    digest = _text(about.get("model_sha256"))[:8]
    return f"{_text(about.get('model'))} {digest}" if about.get("model") else "-"


def _shares(labels: Any) -> str:
    """`odd 75%, even 25%` of counts by label."""
    if not isinstance(labels, dict):
        return "-"
    counts = {name: count for name, count in labels.items() if isinstance(count, int) and count > 0}
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    total = sum(counts.values())
    return ", ".join(f"{_text(name)} {count / total:.0%}" for name, count in ordered[:4]) or "-"


def _drift(shares: Any) -> str:
    """`even 80%` of the shares that have departed, by name."""
    if not isinstance(shares, dict):
        return "-"
    known = {name: share for name, share in shares.items() if isinstance(share, float) and 0.0 <= share <= 1.0}
    return ", ".join(f"{_text(name)} {share:.0%}" for name, share in list(known.items())[:4]) or "none"


def _age(then: Any, now: float) -> str:
    """How long ago that was, in its largest unit."""
    if not isinstance(then, int):
        return "-"
    age = max(0, round(now) - then)  # of integers, for no float holds what a device may send
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if age >= unit:
            return _text(f"{age // unit} {name}")
    return f"{age} s"
