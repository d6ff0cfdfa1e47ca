"""The options of commands that speak to a broker, and what a device tells it."""

from __future__ import annotations

import platform
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oddeven.runtime.cli.options import option_group

if TYPE_CHECKING:  # NumPy takes longer to import than --help may
    from oddeven.runtime.classifier import Classifier
    from oddeven.runtime.fleet.outbox import Outbox

RUNS = 5  # of which the fastest is the latency
NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_-]")

secret_options = option_group(
    click.option(
        "--mqtt-password-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="ODDEVEN_MQTT_PASSWORD_FILE",
        hidden=True,
        help="The broker's password, instead of $ODDEVEN_MQTT_PASSWORD.",
    ),
    click.option(
        "--mqtt-ca",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="ODDEVEN_MQTT_CA",
        hidden=True,
        help="Certificates to trust instead of the system's.",
    ),
)
mqtt_options = option_group(
    click.option("--mqtt", metavar="URL", help="Send the predictions to a broker, mqtts://user@host/topic."),
    click.option("--mqtt-name", hidden=True, help="This device's name there, instead of one made of its machine-id."),
    secret_options,
)


def open_outbox(
    command: str, journal: Path, classifier: Classifier, model: str | None, options: dict[str, Any]
) -> AbstractContextManager[Outbox | None]:
    """What sends `journal` to the broker that the values of `mqtt_options` name, which are taken out of `options`.

    Raises:
        UsageError, MissingPackageError: as `parse_broker` and `Outbox`.
    """
    url, given, password_file, authority = (
        options.pop(name) for name in ("mqtt", "mqtt_name", "mqtt_password_file", "mqtt_ca")
    )
    if not url:
        return nullcontext()
    import numpy as np

    from oddeven.runtime.artifacts.resolve import locate
    from oddeven.runtime.device.host_info import host_info
    from oddeven.runtime.errors import OddEvenError
    from oddeven.runtime.files import sha256
    from oddeven.runtime.fleet.broker import parse_broker
    from oddeven.runtime.fleet.outbox import Outbox
    from oddeven.runtime.update.channel import device_id
    from oddeven.runtime.verify.golden import check_golden

    path = locate(model)
    release = Path(sys.prefix).parent / "RELEASE"  # of a bundle
    fixed = {
        "host": platform.node(), "model": classifier.spec.name, "model_sha256": sha256(path.read_bytes()),
        "engine": f"{classifier.engine.name} {classifier.engine.version}", "version": version("oddeven"),
        "release": int(release.read_text()) if release.exists() else None,
    }  # fmt: skip
    blank = np.zeros(classifier.spec.input.shape, np.uint8)

    def about() -> dict[str, Any]:
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            classifier.predict_prepared(blank)
            times.append(1e3 * (time.perf_counter() - start))
        return {**fixed, "latency_ms": round(min(times), 3), "temperature_c": host_info().temperature_c}

    def selftest() -> str:
        try:
            outcome = check_golden(path, classifier.engine.name)
        except OddEvenError as error:
            return f"not run: {error}"
        return "passed" if outcome.passed else f"FAILED, off by {outcome.largest:.6f}"

    name = given or f"{device_id()}-{command}"
    return Outbox(parse_broker(url, password_file, authority), NOT_OF_A_NAME.sub("-", name), journal, about, selftest)
