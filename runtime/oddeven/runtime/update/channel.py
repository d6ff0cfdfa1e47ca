"""The channel file: which release a device of a fleet takes, read from any static host."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from oddeven.runtime.schema import from_json

MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True)
class Release:
    """A bundle that is offered.

    Attributes:
        release: its number.
        url: of the bundle, relative to the channel file's.
        sha256: of the bundle, hexadecimal.
        share: of the devices that take it, 0 to 1.
    """

    release: int
    url: str
    sha256: str
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share is {self.share}; expected 0 to 1.")
        urlsplit(self.url).geturl().encode()  # a ValueError for what is no URL


@dataclass(frozen=True)
class Channel:
    """What is offered.

    Attributes:
        minimal_release: the release that every device below it takes, whatever its share.
    """

    releases: tuple[Release, ...]
    minimal_release: int = 0
    schema_version: int = 1


def read_channel(content: bytes, name: str) -> Channel:
    """The channel that JSON describes.

    Raises:
        ModelError: it does not.
    """
    return from_json(Channel, content, name)


def choose_release(channel: Channel, device: str, installed: int, failed: Collection[int]) -> Release | None:
    """The newest release above `installed` that `device` takes and that has not `failed` here; None for none."""
    due = [
        offer
        for offer in channel.releases
        if offer.release > installed
        and offer.release not in failed
        and (place_of(device, offer.release) < offer.share or offer.release == channel.minimal_release)
    ]
    return max(due, key=lambda offer: offer.release, default=None)


def place_of(device: str, release: int) -> float:
    """Where a device stands in the queue for a release, 0 to below 1: uniform, fixed, and another one each release."""
    digest = hashlib.sha256(f"oddeven {release} {device}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2.0**48


def device_id() -> str:
    """A name for this machine that stays, and that does not disclose its machine-id, as systemd asks."""
    import platform

    machine = MACHINE_ID.read_text().strip() if MACHINE_ID.is_file() else platform.node()
    return hashlib.sha256(f"oddeven {machine}".encode()).hexdigest()[:12]
