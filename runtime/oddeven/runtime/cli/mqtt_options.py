"""The options of commands that speak to a broker, and what a device tells it."""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.options import FILE, option_group, rare_option
from oddeven.runtime.device.drift import DriftMonitor
from oddeven.runtime.device.host_info import host_info
from oddeven.runtime.errors import OddEvenError, UsageError
from oddeven.runtime.files import sha256
from oddeven.runtime.fleet.broker import parse_broker
from oddeven.runtime.fleet.outbox import Command, Outbox
from oddeven.runtime.images.encode import to_png
from oddeven.runtime.update.channel import device_id
from oddeven.runtime.verify.golden import check_golden

RUNS = 5  # of which the fastest is the latency
THRESHOLD = FiniteRange(0, 1, min_open=True, max_open=True)
NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_-]")

secret_options = option_group(
    rare_option(
        "--mqtt-password-file",
        type=FILE,
        envvar="ODDEVEN_MQTT_PASSWORD_FILE",
        help="The broker's password, instead of $ODDEVEN_MQTT_PASSWORD.",
    ),
    rare_option(
        "--mqtt-ca", type=FILE, envvar="ODDEVEN_MQTT_CA", help="Certificates to trust instead of the system's."
    ),
)
mqtt_options = option_group(
    click.option("--mqtt", metavar="URL", help="Send the predictions to a broker, mqtts://user@host/topic."),
    rare_option("--mqtt-name", help="This device's name there, instead of one made of its machine-id."),
    rare_option(
        "--mqtt-threshold",
        type=(THRESHOLD, THRESHOLD),
        metavar="LOW HIGH",
        help="Let whoever may write to the broker set a threshold from LOW to HIGH.",
    ),
    rare_option("--mqtt-snapshot", is_flag=True, help="Let them ask for the last image."),
    secret_options,
)


def open_outbox(
    command: str,
    journal: Path | None,
    classifier: Classifier,
    model: str | None,
    monitor: DriftMonitor,
    last_seen: Callable[[], Iterable[Pixels]],
    options: dict[str, Any],
) -> AbstractContextManager[Outbox | None]:
    """What sends `journal` to the broker that `options`, the values of `mqtt_options`, name.

    Args:
        journal: None only where no broker is named.
        last_seen: gives the last image as the model takes it, if there is one.

    Raises:
        UsageError, MissingPackageError: as `parse_broker` and `Outbox`, or the bounds of the threshold are reversed.
    """
    low, high = options["mqtt_threshold"] or (0.0, 1.0)
    if low > high:
        raise UsageError(f"--mqtt-threshold {low:g} {high:g} allows no threshold; the lower bound comes first.")
    if not options["mqtt"] or journal is None:
        return nullcontext()
    path = locate(model)
    release = Path(sys.prefix).parent / "RELEASE"  # of a bundle
    fixed = {
        "host": platform.node(), "model": classifier.spec.name, "model_sha256": sha256(path.read_bytes()),
        "engine": f"{classifier.engine.name} {classifier.engine.version}", "version": version("oddeven"),
        "release": int(release.read_text()) if release.exists() else None,
    }  # fmt: skip
    blank = np.zeros((1, *classifier.spec.input.shape), np.uint8)

    def about() -> dict[str, Any]:
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            (prediction,) = classifier.predict_ready(blank)
            times.append(1e3 * (time.perf_counter() - start))
        return {
            **fixed, "latency_ms": round(min(times), 3), "temperature_c": host_info().temperature_c,
            "threshold": classifier.spec.threshold, "familiarity": prediction.familiarity is not None,
            "drift": {share.name: round(share.recent, 3) for share in monitor.shares if share.departed},
        }  # fmt: skip

    def selftest(_: str) -> str:
        try:
            outcome = check_golden(path, classifier.engine.name)
        except OddEvenError as error:
            return f"not run: {error}"
        return "passed" if outcome.passed else f"FAILED, off by {outcome.largest:.6f}"

    def threshold(asked: str) -> str:
        try:
            value = float(asked)
        except ValueError:
            return f"refused: {asked!r} is no number"
        if not low <= value <= high:
            return f"refused: {value:g} is not from {low:g} to {high:g}"
        classifier.use_threshold(value)
        return f"{value:g}"

    def snapshot(_: str) -> str | bytes:
        try:
            return next(map(to_png, last_seen()), "there is no image yet")
        except OddEvenError as error:
            return f"not possible: {error}"

    commands: dict[str, Command] = {"selftest": selftest}
    commands |= {"threshold": threshold} if options["mqtt_threshold"] else {}
    commands |= {"snapshot": snapshot} if options["mqtt_snapshot"] else {}
    broker = parse_broker(options["mqtt"], options["mqtt_password_file"], options["mqtt_ca"])
    name = options["mqtt_name"] or f"{device_id()}-{command}"
    return Outbox(broker, NOT_OF_A_NAME.sub("-", name), journal, about, commands)
