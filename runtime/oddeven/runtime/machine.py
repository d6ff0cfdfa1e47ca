"""What a time was measured on."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")  # a Raspberry Pi's own


@dataclass(frozen=True)
class Machine:
    """The machine as it is now; None for what the system does not tell.

    Attributes:
        cpu: cores and model.
        governor: of the CPU's clock.
        temperature_c: degrees Celsius.
        throttled: the Raspberry Pi firmware's flags, hexadecimal; 0 is well.
    """

    cpu: str
    governor: str | None
    temperature_c: float | None
    throttled: str | None


def here() -> Machine:
    """This machine."""
    temperature = _line(TEMPERATURE)
    celsius = int(temperature) / 1000.0 if temperature else None
    return Machine(machine(), _line(GOVERNOR), celsius, _line(THROTTLED))


def machine() -> str:
    """Cores and CPU model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}"


def peak_memory_mb() -> float:
    """The largest resident size of this process so far."""
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0**2 if sys.platform == "darwin" else 1024.0)


def _line(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
