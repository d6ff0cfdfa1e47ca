"""One update from download to the end of its trial; whenever power fails, one whole version is the current one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import click

from oddeven.runtime.errors import UpdateError, UsageError
from oddeven.runtime.files import sha256, write
from oddeven.runtime.update.bundle import RELEASE, TRUSTED, check_signature, unpack
from oddeven.runtime.update.channel import choose_release, device_id, read_channel
from oddeven.runtime.update.download import download

CURRENT, TRIAL, FAILED = "current", "trial", "failed"
POLL_S = 5.0
SELFTEST_S = 600.0
CHANNEL_BYTES = 1 << 20
NO_COMMAND = 127  # as a shell says it


@dataclass(frozen=True)
class Installation:
    """Where oddeven is installed, and how an update is judged.

    Attributes:
        prefix: the folder that install.sh was given.
        service: the systemd service to restart, or "" for none.
        watch_s: for how long, in seconds, the service must stay up.
        limit_bytes: of a bundle, and of what it unpacks to.
        allow_downgrade: take a release below the installed one.
    """

    prefix: Path
    service: str
    watch_s: float
    limit_bytes: int
    allow_downgrade: bool

    def __post_init__(self) -> None:
        if not (self.prefix / CURRENT).is_symlink():
            raise UsageError(f"{self.prefix} holds no installation; run the bundle's install.sh first.")

    @property
    def signers(self) -> Path:
        """The keys that bundles must be signed with; no such file where any bundle is taken."""
        return self.prefix / TRUSTED

    @property
    def release(self) -> int:
        """The number of the installed release; 0 for one that was installed before there were numbers."""
        path = self.prefix / CURRENT / RELEASE
        return int(path.read_text()) if path.exists() else 0


def update(here: Installation, source: str) -> bool:
    """Update to `source`, a bundle's or a channel file's (.json) path or URL; False where there is nothing to do.

    Raises:
        UpdateError: it was refused, which leaves everything as it was, or undone.
        UsageError: the URL is no URL, or is plain HTTP, and no key is trusted.
        ModelError: the channel file is broken.
    """
    finish_trial(here)
    for left in here.prefix.glob(".update-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".update-", dir=here.prefix) as folder:
        stage = Path(folder)
        if source.partition("?")[0].endswith(".json"):
            offered = _offered(here, source, stage)
            if offered is None:
                return False
            source, expected = offered
        else:
            expected = ""
        _stage(here, source, expected, stage / "bundle")
        before = os.readlink(here.prefix / CURRENT)
        write(here.prefix / TRIAL, before)
        more = ["--allow-downgrade"] if here.allow_downgrade else []
        code = subprocess.run(
            ["sh", str(stage / "bundle" / "install.sh"), *more, str(here.prefix)], stdout=sys.stderr, check=False
        ).returncode
    if code and before == os.readlink(here.prefix / CURRENT):
        (here.prefix / TRIAL).unlink()
        raise UpdateError(f"The installer ended with exit code {code}; what was installed goes on.")
    finish_trial(here)
    return True


def finish_trial(here: Installation) -> None:
    """Watch what was installed last, if that has not been done to the end; go back if it is not well.

    Raises:
        UpdateError: it is not well, and the version before it is the current one again.
    """
    marker = here.prefix / TRIAL
    if not marker.exists():
        return
    before = marker.read_text()
    if before != os.readlink(here.prefix / CURRENT):
        if reason := _ailment(here):
            release = here.release
            write(here.prefix / FAILED, "".join(f"{number}\n" for number in sorted({*_failed(here), release})))
            _point_current(here.prefix, before)
            marker.unlink()
            _systemctl(here, "restart")
            raise UpdateError(f"Release {release} was taken back, and {here.release} runs again: {reason}")
        click.echo(f"oddeven: release {here.release} runs and passed its self-test", err=True)
    marker.unlink()


def _ailment(here: Installation) -> str:
    """Why the current version is not well, or "" if it is."""
    if _systemctl(here, "restart"):
        return f"the service {here.service} does not start."
    end = time.monotonic() + here.watch_s
    while here.service and time.monotonic() < end:
        time.sleep(min(POLL_S, here.watch_s))
        if _systemctl(here, "is-active", "--quiet"):
            return f"the service {here.service} did not stay up."
    command = [str(here.prefix / "oddeven"), "selftest", str(here.prefix / CURRENT / "model")]
    try:
        code = subprocess.run(command, stdout=sys.stderr, timeout=SELFTEST_S, check=False).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the self-test does not run ({error})."
    return f"the self-test ended with exit code {code}." if code else ""


def _systemctl(here: Installation, *verb: str) -> int:
    """The exit code of systemctl for the service; 0 where there is no service."""
    if not here.service:
        return 0
    command = [*([] if os.geteuid() == 0 else ["sudo", "-n"]), "systemctl", *verb, here.service]
    try:
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode
    except OSError as error:
        click.echo(f"oddeven: {command[0]} cannot be run: {error.strerror}", err=True)
        return NO_COMMAND


def _point_current(prefix: Path, target: str) -> None:
    fresh = prefix / ".current.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(prefix / CURRENT)
    os.sync()


def _offered(here: Installation, source: str, stage: Path) -> tuple[str, str] | None:
    """URL or path, and SHA-256, of the bundle that the channel file offers this device."""
    content = _fetched(here, source, stage / "channel.json").read_bytes()
    if here.signers.exists():
        path, mark, query = source.partition("?") if "://" in source else (source, "", "")
        signature = _fetched(here, f"{path}.sig{mark}{query}", stage / "channel.sig").read_bytes()
        check_signature(content, signature, here.signers, source)
    offer = choose_release(read_channel(content, source), device_id(), here.release, _failed(here))
    if offer is None:
        return None
    if "://" in source + offer.url:
        return urllib.parse.urljoin(source, offer.url), offer.sha256
    return str(Path(source).parent / offer.url), offer.sha256


def _failed(here: Installation) -> set[int]:
    """The releases that were taken back, which no channel file gets installed again."""
    path = here.prefix / FAILED
    return {int(line) for line in path.read_text().split()} if path.exists() else set()


def _fetched(here: Installation, source: str, path: Path) -> Path:
    """A small file at a URL or path, downloaded to `path` if need be."""
    _check_source(here, source)
    if "://" not in source:
        return Path(source)
    download(source, path, CHANNEL_BYTES)
    return path


def _stage(here: Installation, source: str, expected: str, folder: Path) -> None:
    """Download, check and unpack the bundle `source` into the new folder `folder`."""
    is_url = "://" in source
    archive = here.prefix / f".download-{sha256(source.encode())[:16]}.zip" if is_url else Path(source)
    _check_source(here, source)
    if is_url:
        for left in set(here.prefix.glob(".download-*.zip")) - {archive}:  # which nobody asks for any more
            left.unlink()
        click.echo(f"oddeven: downloading {source}", err=True)
        download(source, archive, here.limit_bytes)
    folder.mkdir()
    try:
        if expected and sha256(archive.read_bytes()) != expected:
            raise UpdateError(f"{source} is not the file that the channel names; it has another checksum.")
        release = unpack(archive, folder, here.signers, here.limit_bytes, here.prefix / CURRENT)
        if release < here.release and not here.allow_downgrade:
            raise UpdateError(
                f"Release {release} is older than the installed {here.release}; to take it all the same, add "
                "--allow-downgrade."
            )
    finally:  # whether it is good or bad, it need not be kept
        if is_url:
            archive.unlink()
    trusted = "signed by a trusted key" if here.signers.exists() else "signature not checked: no key is trusted"
    click.echo(f"oddeven: release {release}, installed {here.release}; {trusted}", err=True)


def _check_source(here: Installation, url: str) -> None:
    """Refuse a path at which there is no file (UpdateError), and what is no URL or not to be trusted (UsageError)."""
    if "://" not in url:
        if not os.path.isfile(url):
            raise UpdateError(f"There is no file {url}.")
        return
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise UsageError(f"Cannot download {url}: {error}.") from error
    if scheme not in ("https", "http"):
        raise UsageError(f"Cannot download {url}: expected https:// or http://.")
    if scheme == "http" and not here.signers.exists():
        raise UsageError(f"{url} is not encrypted, and no key is trusted: use https://, or install with --trust.")
