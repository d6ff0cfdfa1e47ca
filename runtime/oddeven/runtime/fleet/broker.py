"""A broker, and a connection to it that reconnects by itself."""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from oddeven.runtime.errors import UsageError, extra, needing

if TYPE_CHECKING:
    from paho.mqtt.client import Client

PORTS = {"mqtts": 8883, "mqtt": 1883}
PASSWORD = "ODDEVEN_MQTT_PASSWORD"
HERE = ("localhost", "127.0.0.1", "::1")
KEEPALIVE_S = 30
WAIT_S = (1, 30)  # between two attempts to connect, growing


@dataclass(frozen=True)
class Broker:
    """Where the messages go.

    Attributes:
        topic: what all topics of the fleet begin with.
        password: never shown, also not by `repr`.
        authority: a file of the certificates to trust instead of the system's.
    """

    host: str
    port: int
    encrypted: bool
    topic: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: Path | None = None

    @property
    def unreachable(self) -> str:
        """Why there is no connection, as far as paho-mqtt tells."""
        return f"it cannot be reached{', or its certificate is not trusted' if self.encrypted else ''}"


def parse_broker(url: str, password_file: Path | None, authority: Path | None) -> Broker:
    """The broker of `mqtts://user@host:port/topic`, its password from the file or from $ODDEVEN_MQTT_PASSWORD.

    Raises:
        UsageError: the URL is another, or has the password in it, where every user of the machine would see it; or a
            password would be sent without encryption.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"The broker's URL is wrong: {error}.") from error
    if parts.scheme not in PORTS or not host:
        raise UsageError("The broker's URL is wrong; expected mqtts://user@host/topic.")
    if parts.password is not None:
        raise UsageError(
            f"The broker's URL must not hold the password, which every user of this machine could read; set "
            f"{PASSWORD} or name a file with --mqtt-password-file."
        )
    topic = urllib.parse.unquote(parts.path).strip("/") or "oddeven"
    if set(topic) & set("+#\0"):
        raise UsageError(f"The topic {topic!r} has a wildcard in it.")
    password = os.environ.get(PASSWORD)
    if password_file:
        try:
            password = password_file.read_text().rstrip("\n")
        except (OSError, ValueError) as error:
            raise UsageError(f"Cannot read the broker's password from {password_file}: {error}.") from error
    encrypted = parts.scheme == "mqtts"
    if password and not encrypted and host not in HERE:
        raise UsageError("A password is not sent without encryption; use mqtts:// instead of mqtt://.")
    user = urllib.parse.unquote(parts.username) if parts.username else None
    return Broker(host, port or PORTS[parts.scheme], encrypted, topic, user, password, authority)


def new_client(broker: Broker, name: str) -> Client:
    """A client that connects to `broker` once its loop is started, and again whenever the connection is lost.

    Raises:
        MissingPackageError: paho-mqtt is not installed.
        UsageError: the file of certificates cannot be read.
    """
    with needing("MQTT", extra("mqtt")):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    client = Client(CallbackAPIVersion.VERSION2, client_id=name)
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password)
    if broker.encrypted:
        try:
            client.tls_set(ca_certs=str(broker.authority) if broker.authority else None)
        except OSError as error:
            raise UsageError(f"Cannot use the certificates in {broker.authority}: {error}.") from error
    client.reconnect_delay_set(*WAIT_S)
    client.connect_async(broker.host, broker.port, KEEPALIVE_S)
    return client
