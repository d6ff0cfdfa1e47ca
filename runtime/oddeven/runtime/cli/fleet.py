"""`oddeven fleet`."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import click

from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.mqtt_options import secret_options
from oddeven.runtime.cli.options import page_option
from oddeven.runtime.files import write
from oddeven.runtime.fleet.broker import parse_broker
from oddeven.runtime.fleet.overview import HEADER, listen, rows, to_html
from oddeven.runtime.table import render


@click.command()
@click.option("--mqtt", metavar="URL", required=True, help="The broker that the devices send to.")
@click.option("--seconds", type=FiniteRange(min=0.1), default=2.0, show_default=True, help="How long to listen.")
@page_option("Write the table as a page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a device.")
@secret_options
def command(
    mqtt: str, seconds: float, html: Path | None, as_json: bool, mqtt_password_file: Path | None, mqtt_ca: Path | None
) -> None:
    """Show the devices that send to a broker with --mqtt: which model each runs, what it predicts and how it is."""
    broker = parse_broker(mqtt, mqtt_password_file, mqtt_ca)
    devices = listen(broker, seconds)
    if html:
        write(html, to_html(devices, broker.topic, time.time()))
    if as_json:
        for device in devices:
            click.echo(json.dumps(dataclasses.asdict(device)))
    else:
        click.echo(render(HEADER, rows(devices, time.time())))
