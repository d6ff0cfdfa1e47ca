"""Pip as it would resolve on a Raspberry Pi, on any machine: the Pi's wheel tags, and its environment markers as well.

    python foreign_pip.py MACHINE PYTHON PIP-ARGUMENTS...

for instance `foreign_pip.py aarch64 3.13 download oddeven --dest wheels`. Pip's own --platform changes the tags only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from unittest import mock

# Debian's glibc by its Python; a wheel for an older glibc will do.
GLIBC_MINOR: Mapping[str, int] = {"3.11": 36, "3.13": 41}
OLDEST_MINOR = 17


def markers(machine: str, python: str) -> dict[str, str]:
    """What of the marker environment of PEP 508 is other than here."""
    return {
        "platform_machine": machine, "python_version": python, "python_full_version": f"{python}.2",
        "implementation_version": f"{python}.2", "sys_platform": "linux", "platform_system": "Linux",
        "platform_release": "", "platform_version": "",
    }  # fmt: skip


def tags(machine: str, python: str) -> list[str]:
    """Pip's options for the wheels that run there, the newest platform first."""
    minors = range(GLIBC_MINOR[python], OLDEST_MINOR - 1, -1)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in minors]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    return [
        *(f"--platform={platform}" for platform in platforms),
        f"--python-version={python}", "--implementation=cp", "--only-binary=:all:",
    ]  # fmt: skip


def main(machine: str, python: str, command: str, *arguments: str) -> int:
    """Run pip's `command`; its exit code."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers as packaging

    environment = {**packaging.default_environment(), **markers(machine, python)}
    with mock.patch.object(packaging, "default_environment", return_value=environment):
        return pip([command, *tags(machine, python), "--disable-pip-version-check", *arguments])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
