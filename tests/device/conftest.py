"""What the device's tests share: pictures, and a process that is ended whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import oddeven
from PIL import Image


@pytest.fixture
def pictures(tmp_path, raw):
    """A function that fills a folder with so many test digits, written long ago; gives the expected label of each."""
    from oddeven.runtime import Classifier

    def fill(count, folder=tmp_path / "inbox", model="mlp"):
        folder.mkdir(exist_ok=True)
        for number in range(count):
            path = folder / f"{number:05}.png"
            Image.fromarray(raw["x_test"][number]).save(path)
            os.utime(path, (1e9 + number, 1e9 + number))
        with Classifier.load(model) as classifier:
            answers = classifier.predict_batch(raw["x_test"][:count])
            return {f"{number:05}.png": answer.label for number, answer in enumerate(answers)}

    return fill


@pytest.fixture
def start(tmp_path):
    """Start the real command line and go on, what it says in `stderr.txt`; it is killed at the end of the test."""
    running = []

    def begin(*arguments):
        command = [sys.executable, "-m", "oddeven.runtime", *map(str, arguments)]
        with (tmp_path / "stderr.txt").open("ab") as said:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()


def unpack(archive, folder):
    """The bundle `archive`, unpacked into `folder`."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder / "oddeven-pi"


def installer(bundle, home, **options):
    """Run the installer of an unpacked bundle as the owner of `home` would."""
    command = ["sh", str(bundle / "install.sh")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(home), **options)


def environment(home):
    """That of a user who lives in `home`, with pip set up as it is here."""
    settings = Path.home() / ".config" / "pip" / "pip.conf"
    here = {"PIP_CONFIG_FILE": str(settings)} if settings.exists() else {}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **here, "HOME": str(home), "PATH": path, "PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip")}


@pytest.fixture(scope="session")
def pi(tmp_path_factory):
    """The home of a Pi's owner who has installed the bundle of mlp, `bundle.zip`, as its installer says."""
    home = tmp_path_factory.mktemp("home")
    made = oddeven("bundle", "mlp", "--out", home / "bundle.zip")
    assert made.returncode == 0, made.stderr
    done = installer(unpack(home / "bundle.zip", home / "first"), home)
    assert done.returncode == 0, done.stdout + done.stderr
    (home / "printed.txt").write_text(done.stdout)
    return home
