"""A bundle, checked as a whole before anything in it runs."""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from oddeven.runtime.errors import MissingPackageError, UpdateError
from oddeven.runtime.files import DAMAGED, NO_ROOM, sha256

TOP = "oddeven-pi/"
SUMS, SIGNATURE, RELEASE = "SHA256SUMS", "SHA256SUMS.sig", "RELEASE"
TRUSTED = "trusted"  # in the installation folder: OpenSSH's list of allowed signers
NAME = re.compile(r"([a-z]+/)?[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
WHEEL = re.compile(r"wheels/[A-Za-z0-9][A-Za-z0-9._+-]*\.whl")
LINE = re.compile(r"([0-9a-f]{64})  (.+)")
SMALL = 1 << 20  # no list of checksums, signature or release number is larger
PIECE = 1 << 20


def unpack(archive: Path, into: Path, signers: Path, limit_bytes: int, installed: Path) -> int:
    """Unpack the bundle `archive` into the empty folder `into` and give its release number.

    Args:
        signers: OpenSSH's list of allowed signers. Where there is no such file, no signature is asked for.
        limit_bytes: of the unpacked files together.
        installed: the version that runs, which has the wheels that a delta lists and leaves out.

    Raises:
        UpdateError: it is not a bundle, is damaged or too large, has no signature by a trusted key, or is a delta to
            another version than the installed one.
        MissingPackageError: there is no ssh-keygen to check the signature with.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _entries(opened, archive, limit_bytes)
            sums = _small(opened, entries, SUMS)
            if signers.exists():
                if SIGNATURE not in entries:
                    raise UpdateError(f"{archive} is unsigned, and this machine trusts a key; make it with --sign.")
                check_signature(sums, _small(opened, entries, SIGNATURE), signers, str(archive))
            listed = _listed(sums, archive)
            kept = {name for name in set(listed) - set(entries) if WHEEL.fullmatch(name)}
            if set(listed) - kept != set(entries) - {SUMS, SIGNATURE}:
                raise UpdateError(f"{archive} is damaged: it does not hold what its {SUMS} lists.")
            for name, entry in entries.items():
                _unpack_one(opened, entry, into / name, listed.get(name))
            for name in kept:
                _copy_kept(archive, installed / name, into / name, listed[name])
            release = _small(opened, entries, RELEASE).decode().strip()
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise UpdateError(f"{archive} cannot be unpacked to {into}: {error.strerror}.") from error
        raise UpdateError(f"{archive} is not a whole bundle: {str(error) or type(error).__name__:.200}.") from error
    if not re.fullmatch(r"[0-9]{1,18}", release):
        raise UpdateError(f"{archive} is damaged: {release!r:.40} is not a release number.")
    return int(release)


def check_signature(content: bytes, signature: bytes, signers: Path, name: str) -> None:
    """Let OpenSSH check that a key of `signers` signed `content`.

    Raises:
        UpdateError: none did.
        MissingPackageError: there is no ssh-keygen.
    """
    if not shutil.which("ssh-keygen"):
        raise MissingPackageError("Signatures need ssh-keygen: sudo apt install openssh-client")
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "oddeven", "-n", "oddeven", "-s", file.name],
            input=content, capture_output=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise UpdateError(f"The signature of {name} is not by a trusted key ({signers}).")


def _entries(opened: zipfile.ZipFile, archive: Path, limit_bytes: int) -> Mapping[str, zipfile.ZipInfo]:
    """The files by their names below the top folder: plain files of plain names, each once."""
    entries = {entry.filename.removeprefix(TOP): entry for entry in opened.infolist()}
    for name, entry in entries.items():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not (entry.filename.startswith(TOP) and NAME.fullmatch(name) and kind in (0, stat.S_IFREG)):
            raise UpdateError(f"{archive} is not a bundle: it holds {entry.filename!r:.80}.")
    if len(entries) != len(opened.infolist()):
        raise UpdateError(f"{archive} is not a bundle: it holds a file twice.")
    if sum(entry.file_size for entry in entries.values()) > limit_bytes:
        raise UpdateError(f"{archive} unpacks to more than {limit_bytes:,} bytes, which is the limit (--max-mb).")
    return entries


def _small(opened: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    if name not in entries or entries[name].file_size > SMALL:
        raise UpdateError(f"{opened.filename} is not a bundle: it has no {name} of at most {SMALL:,} bytes.")
    return opened.read(entries[name])


def _listed(sums: bytes, archive: Path) -> dict[str, str]:
    """SHA-256 by name."""
    lines = [LINE.fullmatch(line) for line in sums.decode().splitlines()]
    if not all(lines):
        raise UpdateError(f"{archive} is damaged: its {SUMS} is not a list of checksums.")
    return {line[2]: line[1] for line in lines if line}


def _unpack_one(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, expected: str | None) -> None:
    digest = hashlib.sha256()
    path.parent.mkdir(exist_ok=True)
    with opened.open(entry) as source, path.open("wb") as target:
        while piece := source.read(PIECE):
            digest.update(piece)
            target.write(piece)
    if expected and digest.hexdigest() != expected:
        raise UpdateError(f"{opened.filename} is damaged: {path.name} has another checksum; copy it again.")


def _copy_kept(archive: Path, kept: Path, path: Path, expected: str) -> None:
    if not kept.is_file() or sha256(kept.read_bytes()) != expected:
        raise UpdateError(f"{archive} is a delta, and {kept.name} is not what is installed; make it without --delta.")
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(kept, path)
