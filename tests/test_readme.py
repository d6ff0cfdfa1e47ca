"""Every README command from a plain installation of the sdist, in a checkout and elsewhere, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv

import pytest
from conftest import MNIST, ROOT
from PIL import Image

from oddeven.export.formats import DEFAULTS

pytestmark = pytest.mark.slow
README = (ROOT / "README.md").read_text()
COMMANDS = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()
MODELS = ("cnn", "deep_cnn", "mlp")
# The test suite itself, what the fixtures do, and what is done on a Pi: see tests/device/test_bundle.py.
ELSEWHERE = ("make ", "pip install ", "python3 -m zipfile ", "sh oddeven-pi/", "~/oddeven/")
# The commands as they stand, on models that take seconds to train, with limits for such; each file measured briefly.
SETTINGS = f"""
[tool.oddeven.bench]
seconds = 0.5
[tool.oddeven.train]
quick = true
mnist = '{MNIST}'
[tool.oddeven.export]
mnist = '{MNIST}'
[tool.oddeven.parity]
max_drop_pp = 1.0
max_upper_pp = 2.0
min_agreement = 0.98
"""


def checked(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=1800, **options)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The programs of an environment with everything installed from the sdist, and the folder that it unpacks to."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("build", "all"):
        venv.create(folder / name, with_pip=True)
    build, programs = folder / "build" / "bin" / "python", folder / "all" / "bin"
    checked(build, "-m", "pip", "install", "--quiet", "hatchling")
    checked(build, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    constraints = ROOT / "constraints.txt"
    checked(programs / "python", "-m", "pip", "install", "--quiet", "-c", constraints, f"{archive}[all]")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    return programs, folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture
def shell(plain, tmp_path):
    """Run a shell command with these programs, an empty home folder and no network, in a folder."""
    cut_off = ["unshare", "-rn"] if shutil.which("unshare") else []
    if cut_off and subprocess.run([*cut_off, "true"], capture_output=True, check=False).returncode:
        cut_off = []
    refusing = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    environment = {
        "PATH": f"{plain[0]}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8",
        "COLUMNS": "120", **refusing,
    }  # fmt: skip
    (tmp_path / "home").mkdir()

    def run(command, folder):
        return subprocess.run(
            [*cut_off, "sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False,
            timeout=1800,
        )  # fmt: skip

    return run


def test_every_command_works_in_a_fresh_folder_that_says_where_mnist_is(shell, tmp_path, raw):
    folder, said = tmp_path / "fresh", {}
    for number, name in enumerate(("photo.jpg", "folder/1.png", "more/2.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - raw["x_test"][number]).resize((280, 280)).save(folder / name)
    (folder / "pyproject.toml").write_text(SETTINGS)
    for command in dict.fromkeys(line.partition("  #")[0].strip() for line in COMMANDS):
        if command.startswith(ELSEWHERE) or not command:
            continue
        if "--baseline" in command:
            checked_in(shell, "oddeven verify artifacts --baseline parity-baseline.json --update-baseline", folder)
        if command.startswith("oddeven serve"):  # it goes on until it is stopped; a new network has no loopback yet
            said[command] = checked_in(
                shell, f"(ip link set lo up || true) 2>/dev/null; timeout --preserve-status 8 {command}", folder
            )
        else:
            said[command] = checked_in(shell, command, folder)
    assert len(said) >= 12
    assert "odd" in said["oddeven predict photo.jpg"].split()
    (python,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (folder / "snippet.py").write_text(python)
    assert checked_in(shell, "python snippet.py", folder).split()[0] == "odd"


def checked_in(shell, command, folder):
    done = shell(command, folder)
    print(f"$ {command}\n{done.stdout}")
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
    assert "Traceback" not in done.stderr
    return done.stdout


def test_in_a_checkout_the_pipeline_exports_the_models_that_are_there(shell, plain):
    pipeline = checked_in(shell, "oddeven pipeline --pretrained", plain[1])
    rows = pipeline.split("\n\n")[-2].splitlines()[2:]
    assert [row.split()[:2] for row in rows] == [[model, name] for model in MODELS for name in DEFAULTS]
    assert all(row.endswith("PASS") for row in rows)
    labels = re.findall(r"samples/\d+-(\w+)\.png +(\w+)", pipeline)
    assert labels
    assert all(expected == label for expected, label in labels)


@pytest.mark.parametrize("command", ["oddeven train mlp", "oddeven export mlp.keras"])
def test_without_mnist_and_network_one_sentence_says_what_to_do(shell, tmp_path, command):
    folder = tmp_path / "fresh"
    folder.mkdir()
    shutil.copy(ROOT / "train" / "models" / "mlp.keras", folder)
    done = shell(command, folder)
    assert (done.returncode, done.stdout) == (5, "")
    downloading, error = done.stderr.splitlines()
    assert downloading.startswith("downloading MNIST, 11.5 MB, from ")
    assert error.startswith("oddeven: MNIST is not here and cannot be downloaded")
    assert error.endswith("--mnist FILE.")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [folder / "mlp.keras"]


def test_a_model_of_images_of_ones_own_is_exported_without_mnist(shell, tmp_path, raw):
    folder = tmp_path / "fresh"
    for number, image in enumerate(raw["x_test"][:200]):
        path = folder / "parts" / ("bad" if raw["y_test"][number] % 2 else "good") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    checked_in(shell, "oddeven train mlp --data parts --image-size 28 --quick", folder)
    done = shell("oddeven export runs/mlp/mlp.keras --format tflite-int8", folder)
    assert done.returncode in {0, 1}, done.stderr  # a smoke run need not pass
    assert "MNIST" not in done.stderr
    assert (folder / "artifacts" / "mlp" / "manifest.json").is_file()
