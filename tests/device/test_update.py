"""`install.sh` and `oddeven update`: what is refused, what is undone, and kills at every step."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.server
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from device.conftest import unpack
from device.fleet import new_key, programs, running, write_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oddeven.export.bundle.signature import sign
from oddeven.runtime.errors import ModelError, OddEvenError, UpdateError, UsageError
from oddeven.runtime.files import alone_in
from oddeven.runtime.update.bundle import unpack as unpack_checked
from oddeven.runtime.update.channel import Channel, Release, choose_release, device_id, place_of, read_channel
from oddeven.runtime.update.download import download
from oddeven.runtime.update.trial import Installation, finish_trial

REFUSED = 7
LIMIT = 10_000_000
SYSTEMCTL = (
    '#!/bin/sh\necho "$@" >>"{log}"\n[ "$1" != is-active ] || ! grep -q down "{prefix}/current/model/m.tflite"\n'
)

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen here")


class Device:
    """An installation of release 5, model `first`, that trusts a key."""

    def __init__(self, folder, trust=True):
        self.folder, self.prefix = folder, folder / "oddeven"
        self.key, self.foreign = new_key(folder), new_key(folder, "foreign")
        self.log = folder / "systemctl.txt"
        fake = SYSTEMCTL.format(log=self.log, prefix=self.prefix)
        self.environment = programs(folder / "bin", systemctl=fake, sudo='#!/bin/sh\nshift\nexec "$@"\n')
        options = ["--trust", f"{self.key}.pub"] if trust else []
        assert self.install(self.bundle(5, "first"), *options).returncode == 0
        assert running(self.prefix) == "first"

    def bundle(self, release, model, key=None, **changed):
        path = self.folder / f"{model}.zip"
        write_bundle(path, release, model, key or self.key, **changed)
        return path

    def install(self, bundle, *options):
        shutil.rmtree(self.folder / "oddeven-pi", ignore_errors=True)
        command = ["sh", unpack(bundle, self.folder) / "install.sh", *options, self.prefix]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def command(self, source, *options):
        oddeven = [sys.executable, "-m", "oddeven.runtime", "update", "--watch", "0.005"]
        return [*oddeven, "--prefix", str(self.prefix), *options, str(source)]

    def update(self, source, *options):
        command = self.command(source, *options)
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def test_install_sh_says_whether_it_checked_a_signature_and_by_which_key(tmp_path):
    device = Device(tmp_path, trust=False)
    done = device.install(device.bundle(6, "second", None))
    assert "The signature was not checked: no key is trusted" in done.stdout
    done = device.install(device.bundle(7, "third"), "--trust", f"{device.key}.pub")
    assert "Good" in done.stdout
    assert "SHA256:" in done.stdout


def test_install_sh_takes_one_prefix_after_the_options(device):
    done = device.install(device.bundle(6, "second"), device.prefix, "--trust")
    assert (done.returncode, "There is one PREFIX, after the options" in done.stderr) == (1, True)
    assert running(device.prefix) == "first"


def test_what_a_read_only_bundle_installed_can_be_removed_later(device):
    bundle = unpack(device.bundle(6, "second"), device.folder)
    for path in (*bundle.glob("*/*"), bundle / "model", bundle / "wheels"):
        path.chmod(0o555)
    command = ["sh", bundle / "install.sh", device.prefix]
    assert subprocess.run(command, env=device.environment, capture_output=True, check=False).returncode == 0
    current = device.prefix / "current"
    copied = [current / "model", current / "wheels", *current.glob("model/*"), *current.glob("wheels/*")]
    assert len(copied) == 4
    assert all(path.stat().st_mode & 0o200 for path in copied)


def test_two_installers_at_once_do_not_remove_each_others_work(device):
    with alone_in(device.prefix / "versions"):  # by the lock that install.sh takes
        done = device.install(device.bundle(6, "second"))
    assert (done.returncode, "Another install.sh is at work" in done.stderr) == (1, True)
    assert len(list((device.prefix / "versions").iterdir())) == 1
    assert device.install(device.bundle(6, "second")).returncode == 0


ALTERED = {
    "unsigned": ({"SHA256SUMS.sig": None}, "unsigned"),
    "another signature": ({"SHA256SUMS.sig": b"-----BEGIN SSH SIGNATURE-----\nAAAA\n"}, "signature"),
    "altered list": ({"SHA256SUMS": b"0" * 64 + b"  RELEASE\n"}, ""),
    "altered model": ({"model/m.tflite": b"evil"}, "damaged"),
    "altered installer": ({"install.sh": b"#!/bin/sh\ntouch ../evil\n"}, "damaged"),
    "one file more": ({"wheels/numpy-99-py3-none-any.whl": b"evil"}, "damaged"),
}


@pytest.mark.parametrize("how", ALTERED)
def test_what_was_altered_is_refused_and_the_running_one_is_untouched(device, how):
    changed, word = ALTERED[how]
    if how == "unsigned":
        bundle = device.folder / "second.zip"
        write_bundle(bundle, 6, "second")
    else:
        bundle = device.bundle(6, "second", **changed)
    before = os.readlink(device.prefix / "current")
    done = device.update(bundle)
    assert (done.returncode, len(done.stderr.splitlines())) == (REFUSED, 1), done.stderr
    assert word in done.stderr
    if how != "altered installer":  # which is why `oddeven update` checks before it runs anything of a bundle
        assert device.install(bundle).returncode == 1
    assert os.readlink(device.prefix / "current") == before
    assert running(device.prefix) == "first"
    assert not (device.folder / "evil").exists()


def test_a_foreign_key_and_an_older_release_are_refused(device):
    foreign = device.bundle(6, "second", device.foreign)
    older = device.bundle(4, "older")
    for bundle, word in ((foreign, "trusted key"), (older, "older")):
        done = device.update(bundle)
        assert (done.returncode, word in done.stderr) == (REFUSED, True)
        done = device.install(bundle)
        assert (done.returncode, word in done.stderr) == (1, True)
        assert running(device.prefix) == "first"
    assert device.update(older, "--allow-downgrade").returncode == 0
    assert running(device.prefix) == "older"
    # A key is replaced by who owns the device, and by nobody else.
    assert device.install(foreign, "--trust", f"{device.foreign}.pub").returncode == 0
    assert device.update(device.bundle(9, "third")).returncode == REFUSED


def test_a_delta_takes_the_wheels_that_are_installed_and_no_others(device):
    left_out = {"wheels/oddeven-0-py3-none-any.whl": None}
    for release, model in ((6, "second"), (7, "third")):
        done = device.update(device.bundle(release, model, **left_out))
        assert (done.returncode, running(device.prefix)) == (0, model), done.stderr
    (wheel,) = (device.prefix / "current" / "wheels").iterdir()
    wheel.write_bytes(b"another")
    done = device.update(device.bundle(8, "fourth", **left_out))
    assert (done.returncode, "without --delta" in done.stderr) == (REFUSED, True), done.stderr
    assert running(device.prefix) == "third"


def test_an_update_restarts_the_service_watches_it_and_says_so(device):
    done = device.update(device.bundle(6, "second"), "--service", "oddeven-watch")
    assert (done.returncode, done.stdout) == (0, "release 6\n"), done.stderr
    assert "signed by a trusted key" in done.stderr
    assert running(device.prefix) == "second"
    assert device.log.read_text().splitlines() == ["restart oddeven-watch", "is-active --quiet oddeven-watch"]


@pytest.mark.parametrize("model", ["late", "down", "bad"])
def test_what_is_not_well_is_undone(device, model):
    done = device.update(device.bundle(6, model), "--service", "oddeven-watch")
    assert done.returncode == REFUSED
    assert running(device.prefix) == "first"
    assert not (device.prefix / "trial").exists()
    if model != "bad":  # that never became the current one
        assert "was taken back" in done.stderr
        assert (device.prefix / "failed").read_text() == "6\n"
        assert device.log.read_text().splitlines()[-1] == "restart oddeven-watch"


def test_a_service_that_nothing_can_restart_undoes_the_update(device, monkeypatch, capsys):
    before = os.readlink(device.prefix / "current")
    assert device.install(device.bundle(6, "second")).returncode == 0
    (device.prefix / "trial").write_text(before)
    monkeypatch.setenv("PATH", str(device.folder / "nothing"))
    with pytest.raises(UpdateError, match="does not start"):
        finish_trial(Installation(device.prefix, "oddeven-watch", 0.0, LIMIT, False))
    assert (os.readlink(device.prefix / "current"), "cannot be run" in capsys.readouterr().err) == (before, True)


@pytest.mark.slow
def test_install_sh_killed_before_each_of_its_lines_leaves_one_whole_version(device, tmp_path):
    bundle = unpack(device.bundle(6, "second"), tmp_path / "killed")
    script = bundle / "install.sh"
    lines = script.read_text().splitlines(keepends=True)
    killed, seen = 0, set()
    here_document = range(lines.index(next(filter(lambda line: "<<END" in line, lines))) + 1, lines.index("END\n") + 1)
    for number in set(range(1, len(lines))) - set(here_document):
        script.write_text("".join([*lines[:number], "kill -9 $$\n", *lines[number:]]))
        if subprocess.run(["sh", "-n", script], capture_output=True, check=False).returncode:
            continue  # in the middle of a command
        text = script.read_text()
        digest = subprocess.run(["sha256sum", "install.sh"], cwd=bundle, capture_output=True, text=True, check=True)
        kept = [line for line in (bundle / "SHA256SUMS").read_text().splitlines() if "install.sh" not in line]
        (bundle / "SHA256SUMS").write_text("\n".join([*kept, digest.stdout.strip(), ""]))
        (device.prefix / "trusted").unlink(missing_ok=True)  # the script that is killed is not the signed one
        command = ["sh", script, "--allow-downgrade", device.prefix]
        done = subprocess.run(command, env=device.environment, capture_output=True, check=False)
        killed += done.returncode == -signal.SIGKILL
        seen.add(running(device.prefix))
        assert text == script.read_text()
    assert killed > 40
    assert seen == {"first", "second"}
    assert device.update(device.bundle(7, "third")).returncode == 0
    assert running(device.prefix) == "third"
    assert len(list((device.prefix / "versions").iterdir())) == 2


@pytest.mark.long
def test_an_update_killed_at_a_hundred_random_moments_leaves_one_whole_version(device):
    bundles = [device.bundle(10, "a"), device.bundle(10, "b")]
    start = time.monotonic()
    assert device.update(bundles[0], "--service", "x").returncode == 0
    whole_s = time.monotonic() - start
    dice, seen, killed, number = random.Random(0), set(), 0, 0
    while killed < 100:
        command = device.command(bundles[number % 2], "--service", "x")
        with subprocess.Popen(
            command,
            env=device.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(dice.uniform(0, whole_s))
            killed += process.poll() is None  # otherwise it was done already: a busy machine measured `whole_s`
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        seen.add(running(device.prefix))
        number += 1
        assert number < 1000
    assert seen == {"a", "b"}
    assert device.update(device.bundle(11, "c")).returncode == 0
    assert running(device.prefix) == "c"
    assert not (device.prefix / "trial").exists()


def test_a_trial_that_a_power_cut_ended_is_finished_by_the_next_update(device):
    before = os.readlink(device.prefix / "current")
    assert device.install(device.bundle(6, "late")).returncode == 0
    (device.prefix / "trial").write_text(before)
    done = device.update(device.bundle(7, "third"))
    assert (done.returncode, "was taken back" in done.stderr) == (REFUSED, True)
    assert os.readlink(device.prefix / "current") == before


def test_what_a_trial_would_go_back_to_outlives_installations_by_hand(device):
    before = os.readlink(device.prefix / "current")
    (device.prefix / "trial").write_text(before)
    for release, model in ((6, "second"), (7, "late")):
        assert device.install(device.bundle(release, model)).returncode == 0
    done = device.update(device.bundle(8, "fourth"))
    assert (done.returncode, "was taken back" in done.stderr) == (REFUSED, True)
    assert running(device.prefix) == "first"


class Server(http.server.SimpleHTTPRequestHandler):
    """A static host that understands ranges, and breaks off each connection after `most` bytes."""

    most, ranges = 10**9, []

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            content = file.read()
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.ranges.append(first)
        if asked and first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : first + self.most])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def host(device):
    """The URL of a static host of the device's folder, and its handler."""
    handler = type("Handler", (Server,), {"ranges": []})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(device.folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def test_a_download_goes_on_where_it_broke_off_and_has_a_limit(device, host):
    url, handler = host
    bundle = device.bundle(6, "zweites Bündel")
    handler.most = bundle.stat().st_size // 3 + 1
    (device.prefix / ".download-0123456789abcdef.zip").touch()  # of another URL, broken off for good
    done = device.update(f"{url}/{bundle.name}")
    assert done.returncode == 0, done.stderr
    assert not list(device.prefix.glob(".download-*"))
    assert handler.ranges == [0, handler.most, 2 * handler.most]
    assert running(device.prefix) == "zweites Bündel"
    done = device.update(f"{url}/nothing.zip")
    assert (done.returncode, "404" in done.stderr) == (REFUSED, True)
    (device.folder / "large.zip").write_bytes(bytes(1_000_001))
    done = device.update(f"{url}/large.zip", "--max-mb", "1")
    assert (done.returncode, "limit" in done.stderr) == (REFUSED, True)


def test_plain_http_needs_a_trusted_key(device, host):
    (device.prefix / "trusted").unlink()
    done = device.update(f"{host[0]}/second.zip")
    assert (done.returncode, "not encrypted" in done.stderr) == (2, True)
    done = device.update("https://[::1/second.zip")
    assert (done.returncode, "Cannot download https://[::1/second.zip" in done.stderr) == (2, True)


def test_a_channel_file_on_the_device_may_name_a_url(device, host):
    digest = write_bundle(device.folder / "second.zip", 6, "second", device.key)
    channel = device.folder / "channel.json"
    offered = {"release": 6, "url": f"{host[0]}/second.zip", "sha256": digest, "share": 1.0}
    channel.write_text(json.dumps({"releases": [offered]}))
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "oddeven", "-f", device.key, channel], check=True, capture_output=True
    )
    assert device.update(channel).stdout == "release 6\n"


def test_a_device_takes_from_a_signed_channel_what_its_share_says(device, host):
    digest = write_bundle(device.folder / "second.zip", 6, "second", device.key)
    channel = device.folder / "channel.json"
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "oddeven", "-f", device.key, channel]

    def offer(share, key_signs=True, **more):
        fields = {"release": 6, "url": "second.zip", "sha256": digest, "share": share}
        channel.write_text(json.dumps({"releases": [fields], **more}))
        if key_signs:
            (device.folder / "channel.json.sig").unlink(missing_ok=True)
            subprocess.run(sign, check=True, capture_output=True)
        return device.update(f"{host[0]}/channel.json?line=2")  # to a file server, the same

    done = offer(place_of(device_id(), 6))  # the share must be larger than the device's place
    assert (done.returncode, done.stdout) == (0, "release 5: nothing to do\n"), done.stderr
    done = offer(1.0, key_signs=False)
    assert (done.returncode, "trusted key" in done.stderr) == (REFUSED, True)
    (device.prefix / "failed").write_text("6\n")  # what was taken back is not tried each hour
    assert offer(1.0).stdout == "release 5: nothing to do\n"
    (device.prefix / "failed").unlink()
    assert offer(0.0, minimal_release=6).stdout == "release 6\n"
    assert running(device.prefix) == "second"
    digest = "0" * 64
    assert offer(1.0).stdout == "release 6: nothing to do\n"


def test_a_missing_bundle_or_channel_is_an_update_refused(tmp_path):
    device, channel = Device(tmp_path, trust=False), tmp_path / "channel.json"
    channel.write_text('{"releases": [{"release": 6, "url": "missing.zip", "sha256": "0"}]}')
    for source in (tmp_path / "missing.zip", channel, tmp_path / "missing.json"):
        done = device.update(source)
        assert (done.returncode, "There is no file" in done.stderr) == (REFUSED, True), done.stderr


@pytest.mark.parametrize("url", ["https://[::1/second.zip", "\ud800.zip"])
def test_a_channel_with_a_malformed_url_is_broken(url):
    channel = {"releases": [{"release": 6, "url": url, "sha256": "0"}]}
    with pytest.raises(ModelError, match=r"channel\.json\.releases\[0\]: "):
        read_channel(json.dumps(channel).encode(), "channel.json")


def test_a_share_of_the_fleet_is_that_share_of_it():
    channel = Channel((Release(7, "u", "s", 0.1), Release(6, "u", "s", 1.0)))
    taken = [choose_release(channel, f"device {number}", 5, ()).release for number in range(10_000)]
    # A binomial's standard deviation here is 30.
    assert 880 < taken.count(7) < 1120
    assert taken.count(6) == 10_000 - taken.count(7)
    assert choose_release(channel, "device 0", 7, ()) is None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_hostile_bundle_or_channel_is_one_of_our_errors(data, tmp_path):
    whole = tmp_path / "whole.zip"
    if not whole.exists():
        write_bundle(whole, 1, "m")
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    hostile = tmp_path / "hostile.zip"
    hostile.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    try:
        unpack_checked(hostile, out, tmp_path / "no signers", LIMIT, tmp_path)
    except UpdateError:
        pass
    else:  # what was altered was in no file: a date, a permission
        assert (out / "model" / "m.tflite").read_bytes() == b"m"
    assert {path.name for path in tmp_path.iterdir()} <= {"whole.zip", "hostile.zip", "out"}
    for text in (data.draw(st.binary(max_size=60)), b'{"releases": [%s]}' % data.draw(st.binary(max_size=40))):
        with contextlib.suppress(OddEvenError):
            read_channel(text, "channel.json")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "model/../../evil", "a\\b", ".hidden", "a/b/c"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    write_bundle(tmp_path / "b.zip", 1, "m", **{name: b"evil"})
    (tmp_path / "out").mkdir()
    with pytest.raises(UpdateError, match="it holds"):
        unpack_checked(tmp_path / "b.zip", tmp_path / "out", tmp_path / "none", LIMIT, tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path):
    write_bundle(tmp_path / "bomb.zip", 1, "0" * LIMIT)
    assert (tmp_path / "bomb.zip").stat().st_size < LIMIT / 100
    (tmp_path / "out").mkdir()
    with pytest.raises(UpdateError, match="limit"):
        unpack_checked(tmp_path / "bomb.zip", tmp_path / "out", tmp_path / "none", LIMIT, tmp_path)


def test_a_full_disk_is_no_damaged_bundle(tmp_path, monkeypatch):
    write_bundle(tmp_path / "b.zip", 1, "m")
    (tmp_path / "out").mkdir()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(tmp_path), "open", full)
    with pytest.raises(UpdateError, match=r"b\.zip cannot be unpacked to .*out: No space left on device\.$"):
        unpack_checked(tmp_path / "b.zip", tmp_path / "out", tmp_path / "none", LIMIT, tmp_path)


def test_why_a_download_fails_is_said_without_errno(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/b.zip"
        with pytest.raises(UpdateError, match=r"b\.zip: Connection refused\. Started"):
            download(url, tmp_path / "b.zip", LIMIT)


def test_why_a_key_cannot_sign_is_one_line_that_does_not_say_to_make_it_again(tmp_path):
    key, other = new_key(tmp_path), tmp_path / "other"
    key.chmod(0o644)
    other.touch()
    for path, reason, advised in ((key, "are too open", False), (other, "other", True)):
        with pytest.raises(UsageError, match=reason) as caught:
            sign(b"content", path)
        assert "\n" not in str(caught.value)
        assert ("ssh-keygen -t ed25519" in str(caught.value)) == advised
