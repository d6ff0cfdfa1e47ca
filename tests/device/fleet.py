"""Bundles whose installation takes a tenth of a second, because Python and oddeven in them are a few lines of shell."""

from __future__ import annotations

import hashlib
import os
import subprocess

from device.test_bundle import DEVICE

from oddeven.export.bundle.archive import SERVE_UNIT
from oddeven.export.bundle.signature import sign
from oddeven.export.bundle.wheel import zipped
from oddeven.runtime.files import sha256

# A model is a line of text: "bad" fails every self-test, "late" only that of the running system.
ODDEVEN = """#!/bin/sh
[ "$1" = selftest ] || exec cat "$ODDEVEN_MODEL"
if [ -d "$2" ]; then ! grep -qE 'bad|late' "$2"/*.tflite; else ! grep -q bad "$2"; fi
"""
PYTHON = f"""#!/bin/sh
case "$1 $2" in
    *version_info*) echo 3.11 ;;
    *calcsize*) echo 64 ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") cat >"$(dirname "$0")/oddeven" <<'END' && chmod 755 "$(dirname "$0")/oddeven" ;;
{ODDEVEN}END
    *) exit 1 ;;
esac
"""


def new_key(folder, name="key"):
    """A new Ed25519 key; its public half is beside it, with the suffix .pub."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return folder / name


def write_bundle(path, release, model, key=None, **changed):
    """The bundle of a `release`, with `changed` entries put in, or None for left out, after it was signed.

    Gives its SHA-256.
    """
    entries = {file.name: file.read_bytes() for file in DEVICE.iterdir() if file.name != SERVE_UNIT}
    entries |= {
        "RELEASE": b"%d\n" % release,
        "model/m.tflite": model.encode(),
        "wheels/oddeven-0-py3-none-any.whl": b"",
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(entries.items()))
    entries["SHA256SUMS"] = sums.encode()
    if key:
        entries["SHA256SUMS.sig"] = sign(entries["SHA256SUMS"], key)
    entries |= changed
    path.write_bytes(
        zipped({f"oddeven-pi/{name}": content for name, content in entries.items() if content is not None})
    )
    return sha256(path.read_bytes())


def programs(folder, **scripts):
    """An environment in which those programs, given as shell, are found first; `python3` is the one above."""
    folder.mkdir(exist_ok=True)
    for name, script in {"python3": PYTHON, **scripts}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def running(prefix):
    """The model of the current version, from the whole version that it must be."""
    for name in ("RELEASE", "oddeven", "oddeven-watch.service", "model/m.tflite", "venv/bin/oddeven"):
        assert (prefix / "current" / name).stat().st_size, name
    done = subprocess.run([prefix / "current" / "oddeven"], capture_output=True, text=True, check=True)
    return done.stdout
