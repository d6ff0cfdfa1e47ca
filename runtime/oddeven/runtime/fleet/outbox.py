"""The journal as a queue: each line that the broker has not acknowledged is sent, in order, however long that takes.

How far the broker has acknowledged is in a file beside the journal, so that a kill loses nothing. What was sent and not
acknowledged is sent again, so a message may come twice; `file` and `mtime_ns` are its key.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click

from oddeven.runtime.errors import OutputError, UsageError
from oddeven.runtime.files import write
from oddeven.runtime.fleet.broker import Broker, new_client
from oddeven.runtime.fleet.discovery import discovery, discovery_topic

ONLINE, OFFLINE = "online", "offline"
BATCH = 100  # lines between two notes of how far the broker has them
POLL_S = 0.2
ABOUT_S = 60.0  # between two messages about the device itself
LONGEST = 100  # bytes of a command
FAREWELL_S = 10.0  # how long the end of the program waits for what is unsent
About = Callable[[], Mapping[str, Any]]
Command = Callable[[str], "str | bytes"]


class Outbox:
    """Sends a journal's lines, from a thread of its own, while a `with` statement lasts.

    Topics, below that of the broker and the device's name: `state`, each line; `about`, the device; `availability`,
    online or offline; and `command`, which takes the word of a command and what is behind it.
    """

    def __init__(
        self, broker: Broker, device: str, journal: Path, about: About, commands: Mapping[str, Command]
    ) -> None:
        """Prepare to send; nothing is connected yet.

        Args:
            about: what the device says about itself, anew at each call.
            commands: by its word, what does each and says how it went, or gives bytes for a topic of that name; one is
                `selftest`.

        Raises:
            UsageError: the journal is not JSON lines.
            MissingPackageError: paho-mqtt is not installed.
        """
        if journal.suffix != ".jsonl":
            raise UsageError(f"MQTT sends JSON lines, and {journal} is none; name an --out that ends in .jsonl.")
        self._journal, self._sent = journal, journal.with_name(f"{journal.name}.sent")
        self._about, self._commands, self._results = about, commands, dict[str, str]()
        self._asked: dict[str, str] = {}  # a command that comes faster than it is done is done once
        self._topic, self._device = f"{broker.topic}/{device}", device
        self._client = new_client(broker, f"oddeven-{device}")
        self._client.will_set(f"{self._topic}/availability", OFFLINE, qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = lambda *_: self._complain(broker.unreachable)
        self._taken = set[int]()  # numbers of messages that the broker has acknowledged
        self._client.on_publish = lambda *given: self._taken.add(given[2])
        self._client.on_message = lambda *given: self._command(given[2].payload)
        self._ending, self._greeted = threading.Event(), threading.Event()
        self._labels: Counter[str] = Counter()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Outbox:
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(FAREWELL_S)
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/availability", OFFLINE, qos=1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._complain(str(reason))
            return
        self._complaint = ""
        client.subscribe(f"{self._topic}/command", qos=1)
        client.publish(f"{self._topic}/availability", ONLINE, qos=1, retain=True)
        self._greeted.clear()

    def _complain(self, reason: str) -> None:
        """Say once, and not at each attempt, why the broker does not have the messages yet."""
        if reason != self._complaint:
            click.echo(f"oddeven: the broker does not take the predictions yet: {reason}.", err=True)
        self._complaint = reason

    def _command(self, payload: bytes) -> None:
        """Take note of a command; any other word is ignored."""
        word, _, rest = payload[:LONGEST].decode(errors="replace").partition(" ")
        if word in self._commands:
            self._asked[word] = rest

    def _obey(self, word: str, rest: str) -> None:
        result = self._commands[word](rest)
        if isinstance(result, bytes):
            self._client.publish(f"{self._topic}/{word}", result, qos=1)
            result = "sent"
        self._results[word] = result

    def _run(self) -> None:
        with self._journal.open("rb") as journal:  # to close it gives up the lock of this process
            self._send(journal)

    def _send(self, journal: BinaryIO) -> None:
        self._obey("selftest", "")
        due = 0.0
        offset = self._acknowledged(journal)
        while True:
            ending, connected = self._ending.is_set(), self._client.is_connected()
            if connected:
                while self._asked:
                    self._obey(*self._asked.popitem())
                    due = 0.0
                if time.monotonic() >= due or not self._greeted.is_set():
                    self._greeted.set()
                    self._introduce()
                    due = time.monotonic() + ABOUT_S
                before, offset = offset, self._send_from(journal, offset)
                if offset != before:
                    continue
            if ending and (connected or self._complaint):  # all is sent, or will be at the next start
                return
            self._ending.wait(POLL_S)

    def _introduce(self) -> None:
        about = {
            **self._about(), "selftest": self._results["selftest"], "commands": self._results,
            "labels": dict(self._labels), "time": int(time.time()),
        }  # fmt: skip
        config = discovery(self._topic, self._device, about)
        for topic, content in ((discovery_topic(self._device), config), (f"{self._topic}/about", about)):
            self._client.publish(topic, json.dumps(content), qos=1, retain=True)

    def _acknowledged(self, journal: BinaryIO) -> int:
        """The offset in the journal up to which the broker has it; 0 where it is another journal."""
        try:
            offset = int(self._sent.read_text())
            journal.seek(max(0, offset - 1))
            return offset if journal.read(1) == b"\n" else 0
        except (OSError, ValueError):
            return 0

    def _send_from(self, journal: BinaryIO, offset: int) -> int:
        """Send the next lines, wait until the broker has them, and note it; gives the new offset."""
        journal.seek(offset)
        lines = [line for line in islice(journal, BATCH) if line.endswith(b"\n")]
        if not lines:
            return offset
        self._taken.clear()
        # What the connection is lost for meanwhile paho-mqtt sends later, although its `is_published` raises then.
        sent = {self._client.publish(f"{self._topic}/state", line.strip(), qos=1, retain=True).mid for line in lines}
        while not sent <= self._taken:
            if self._ending.is_set() and not self._client.is_connected():
                return offset
            time.sleep(0.002)
        self._labels.update(json.loads(line)["label"] for line in lines)
        offset += sum(map(len, lines))
        with suppress(OutputError):  # then these lines are sent again after a restart
            write(self._sent, str(offset))
        return offset
