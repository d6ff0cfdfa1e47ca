"""GPIO pins that show the answer: each is on while its label is the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from oddeven.runtime.errors import UsageError, choose, extra, needing


class Pins:
    """Open output pins, off to begin with and at the end. Use it in a `with` statement."""

    def __init__(self, wiring: Mapping[str, str], labels: Iterable[str]) -> None:
        """Open the pin of each label, by gpiozero's name for it; without any, gpiozero is not needed.

        Raises:
            UsageError: a label is none of `labels`, or a pin cannot be driven.
            MissingPackageError: gpiozero is not installed.
        """
        self._pins: dict[str, Any] = {}
        for label in wiring:
            choose("label", label, labels)
        if not wiring:
            return
        with needing("Driving a pin", extra("gpio")):
            import gpiozero
        for label, pin in wiring.items():
            try:
                self._pins[label] = gpiozero.DigitalOutputDevice(pin)
            except gpiozero.GPIOZeroError as error:
                self.close()
                raise UsageError(
                    f"The pin {pin} cannot be driven ({error}); on a Raspberry Pi: sudo apt install python3-lgpio, "
                    "and use a virtual environment made with --system-site-packages."
                ) from error

    def show(self, label: str) -> None:
        """Turn on the pin of `label`, where it has one, and all others off."""
        for name, pin in self._pins.items():
            pin.value = name == label

    def close(self) -> None:
        """All pins off, and free for others."""
        for pin in self._pins.values():
            pin.off()
            pin.close()
        self._pins.clear()

    def __enter__(self) -> Pins:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
