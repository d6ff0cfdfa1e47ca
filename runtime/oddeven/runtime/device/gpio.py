"""GPIO pins that show the predicted label: each is on while its label is predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from oddeven.runtime.errors import UsageError, choose, extra, needing


@contextmanager
def open_pins(wiring: Mapping[str, str], labels: Iterable[str]) -> Iterator[Callable[[str], None]]:
    """Open the output pin of each label in `wiring`, by gpiozero's name for it; all are off at first and at the end.

    Yields:
        a function that turns on the pin of a label, where it has one, and all others off.

    Raises:
        UsageError: a label is none of `labels`, or a pin cannot be driven.
        MissingPackageError: there is a pin to drive, and gpiozero is not installed.
    """
    known = list(labels)
    for label in wiring:
        choose("label", label, known)
    with ExitStack() as stack:
        pins = {}
        if wiring:
            with needing("Driving a pin", extra("gpio")):
                import gpiozero
        for label, name in wiring.items():
            try:
                pins[label] = stack.enter_context(gpiozero.DigitalOutputDevice(name))
            except gpiozero.GPIOZeroError as error:
                raise UsageError(
                    f"The pin {name} cannot be driven ({error}); on a Raspberry Pi: sudo apt install python3-lgpio, "
                    "and use a virtual environment made with --system-site-packages."
                ) from error
            stack.callback(pins[label].off)

        def show(label: str) -> None:
            for other, pin in pins.items():
                pin.value = other == label

        yield show
