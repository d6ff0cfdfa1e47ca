"""The commands of docs/raspberry-pi.md, in the order of the page, as far as they can run without a Pi."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from device.conftest import environment
from PIL import Image

PAGE = (ROOT / "docs" / "raspberry-pi.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
# Another machine, root or systemd: what they do is not ours.
ELSEWHERE = ("sudo ", "scp ", "journalctl ", "pip install ")
NO_CAMERA = 5


def expected_code(command):
    """5 for a camera that this machine has not, else 0."""
    return NO_CAMERA if " camera " in command and "video.avi" not in command else 0


def as_if_by_apt(folder):
    """The environment in which Python finds what apt installs on a Pi, OpenCV and gpiozero, which drives mock pins."""
    here = Path(pytest.importorskip("cv2").__file__).parents[1]
    folder.mkdir()
    for path in [here / "cv2", *here.glob("opencv*.libs"), *here.glob("gpiozero*"), here / "colorzero"]:
        (folder / path.name).symlink_to(path)
    return {"PYTHONPATH": str(folder), "GPIOZERO_PIN_FACTORY": "mock"}


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(pi, video, raw, tmp_path):
    Image.fromarray(255 - raw["x_test"][0]).resize((280, 280)).save(tmp_path / "photo.jpg")
    shutil.move(video([0, 1], name="clip.avi"), tmp_path / "video.avi")
    settings = {**environment(pi), **as_if_by_apt(tmp_path / "dist-packages")}
    said = {}
    for command in COMMANDS:
        if command.startswith(ELSEWHERE):
            continue
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected_code(command), (command, done.stdout, done.stderr)
        said[command] = done.stdout
    assert len(said) >= 15
    assert "odd" in said["~/oddeven/oddeven predict photo.jpg"].split()
    assert '"label": "odd"' in said["cat ~/oddeven/results/answers.jsonl"]
    frames = said["~/oddeven/oddeven camera --source video.avi --json"].splitlines()
    assert [json.loads(frame)["label"] for frame in frames] == ["odd", "even"]


def test_every_message_of_the_page_is_one_that_is_said():
    sources = [path for part in ("export", "runtime") for path in (ROOT / part).rglob("*.[ps][yh]")]
    text = "".join(path.read_text() for path in sources)
    messages = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    ours = [part for message in messages if message != "Illegal instruction" for part in message.split(" ... ")]
    assert len(ours) >= 8
    assert not [part for part in ours if part not in text]


@pytest.mark.emulated
@pytest.mark.parametrize("arch", ["arm64", "armhf"])
def test_the_answering_commands_run_in_a_pis_own_userland(pi, raw, tmp_path, arch):
    emulate = ROOT / "tests" / "device" / "emulate.sh"
    missing = [tool for tool in ("mmdebstrap", "qemu-aarch64-static", "qemu-arm-static") if not shutil.which(tool)]
    if missing or not emulate.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"emulation needs {', '.join(missing) or emulate.name}"
        )
    (wheel,) = (pi / "first" / "oddeven-pi" / "wheels").glob("*.whl")
    Image.fromarray(255 - raw["x_test"][0]).resize((280, 280)).save(tmp_path / "photo.jpg")
    model = pi / "first" / "oddeven-pi" / "model"
    asked = [c for c in COMMANDS if re.match(r"~/oddeven/oddeven (predict|selftest|info)", c)]
    assert len(asked) >= 5
    watched = f"~/oddeven/oddeven watch {tmp_path} --out {tmp_path}/answers.jsonl --once"
    for command in [*asked, watched]:
        words = command.replace("~/oddeven/current/model", str(model)).split()[1:]
        done = subprocess.run(
            ["bash", emulate, "--arch", arch, "--wheel", wheel, "--", "oddeven", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert '"label": "odd"' in (tmp_path / "answers.jsonl").read_text()
