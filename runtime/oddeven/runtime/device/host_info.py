"""The machine that a latency was measured or a prediction made on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")  # a Raspberry Pi's own
# What decides how 8-bit products are added, as Linux names it, and as NumPy does, which asks the CPU itself.
FEATURES: Mapping[str, str] = {
    "avx2": "AVX2", "avx512f": "AVX512F", "avx512_vnni": "AVX512VNNI", "avx_vnni": "", "asimddp": "ASIMDDP", "i8mm": "",
}  # fmt: skip


@dataclass(frozen=True)
class HostInfo:
    """The machine as it is now; None for what the system does not tell.

    Attributes:
        cpu: cores and model.
        governor: of the CPU's clock.
        temperature_c: degrees Celsius.
        throttled: the Raspberry Pi firmware's flags, hexadecimal; 0 is well.
        cpu_features: as the function gives them.
    """

    cpu: str
    governor: str | None
    temperature_c: float | None
    throttled: str | None
    cpu_features: tuple[str, ...] = ()


def host_info() -> HostInfo:
    """This machine."""
    temperature = _line(TEMPERATURE)
    celsius = int(temperature) / 1000.0 if temperature else None
    return HostInfo(cpu_name(), _line(GOVERNOR), celsius, _line(THROTTLED), cpu_features())


def cpu_name() -> str:
    """Cores and CPU model."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}"


def cpu_features() -> tuple[str, ...]:
    """Those of `FEATURES` that this CPU has, asimddp being ARM's dot product; () where the system does not tell.

    /proc/cpuinfo names them all, but to a process under qemu-user it may show the host's. Where NumPy, which runs the
    CPU's own instruction for it, contradicts the file in one feature, those that only the file names are not believed.
    """
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    told = {name for line in lines if line.startswith(("flags", "Features")) for name in line.partition(":")[2].split()}
    asked = _asked()
    known = {name: asked[theirs] for name, theirs in FEATURES.items() if theirs in asked}
    if any(there != (name in told) for name, there in known.items()):
        told = {name for name, there in known.items() if there}
    return tuple(name for name in FEATURES if name in told)


def _asked() -> Mapping[str, bool]:
    """NumPy's own table of the CPU's features, which has no public name."""
    from importlib import import_module

    import numpy as np

    core = "numpy._core" if int(np.__version__.partition(".")[0]) > 1 else "numpy.core"
    table: Mapping[str, bool] = import_module(f"{core}._multiarray_umath").__cpu_features__
    return table


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
