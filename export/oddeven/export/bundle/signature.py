"""Signatures by OpenSSH, which every Raspberry Pi OS has to check them with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from oddeven.runtime.errors import MissingPackageError, UsageError

NAMESPACE = "oddeven"  # a signature that the key gave for anything else does not count


def sign(content: bytes, key: Path) -> bytes:
    """The armored signature of `content` by the private key `key`, or the agent's whose public half `key` is.

    Raises:
        UsageError: it is not an Ed25519 key that can sign.
        MissingPackageError: there is no ssh-keygen.
    """
    if not shutil.which("ssh-keygen"):
        raise MissingPackageError("--sign needs ssh-keygen: sudo apt install openssh-client")
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)],
        input=content, capture_output=True, check=False,
    )  # fmt: skip
    kind = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], capture_output=True, text=True, check=False).stdout
    if done.returncode or "ED25519" not in kind:
        said = done.stderr.decode(errors="replace").splitlines()
        reason = " ".join(line for line in said if not line.startswith("@"))  # which frames a warning
        reason = reason.strip(" .") or f"the key is {kind.strip() or 'unreadable'}"
        advice = "" if "ED25519" in kind else " Expected an Ed25519 key, as ssh-keygen -t ed25519 makes one."
        raise UsageError(f"Cannot sign with {key}: {reason:.300}.{advice}")
    return done.stdout
