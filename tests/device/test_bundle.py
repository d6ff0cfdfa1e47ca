"""`oddeven bundle`, and its installer run for real on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from getpass import getuser
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
from device.conftest import environment, installer, unpack

from oddeven.runtime.verify.golden import load_golden, save_golden

DEVICE = Path(__file__).parents[2] / "export" / "oddeven" / "export" / "bundle" / "device"


def contents(archive):
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def answer(home, digit):
    """What the command that the installer printed answers for a picture."""
    line = (home / "printed.txt").read_text().splitlines()[-1].strip()
    command = [*line.removesuffix("photo.jpg").split(), str(digit), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["label"]


def versions(home):
    return {path.name for path in (home / "oddeven" / "versions").iterdir()}


def current(home, link="current"):
    return Path(os.readlink(home / "oddeven" / link)).name


def test_equal_bundles_are_equal_bytes_and_hold_what_they_list(run, pi, tmp_path):
    again = tmp_path / "again.zip"
    assert run("bundle", "mlp", "--out", again).returncode == 0
    assert again.read_bytes() == (pi / "bundle.zip").read_bytes()
    files = contents(again)
    sums = files.pop("oddeven-pi/SHA256SUMS").decode().splitlines()
    assert sorted(sums) == sorted(
        f"{hashlib.sha256(content).hexdigest()}  {name.removeprefix('oddeven-pi/')}" for name, content in files.items()
    )
    assert {"oddeven-pi/model/mlp.int8.tflite", "oddeven-pi/model/mlp.selftest.npz"} < set(files)
    names = {Path(name).name for name in files}
    assert {"install.sh", "README.txt", "oddeven-watch.service"} < names
    assert "oddeven-serve.service" not in names


def test_a_delta_lists_the_wheels_and_leaves_them_out(run, pi, tmp_path):
    delta = tmp_path / "delta.zip"
    done = run("bundle", "mlp", "--delta", "--out", delta)
    assert "oddeven update delta.zip" in done.stderr
    whole, part = contents(pi / "bundle.zip"), contents(delta)
    assert {name for name in whole if name not in part} == {name for name in whole if "/wheels/" in name} != set()
    assert all(whole[name] == content for name, content in part.items())


def test_the_bill_of_materials_is_one_by_its_schema_and_names_what_is_inside(run, exported, tmp_path):
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    assert run("bundle", exported, "--out", tmp_path / "cnn.zip").returncode == 0
    files = {name.removeprefix("oddeven-pi/"): content for name, content in contents(tmp_path / "cnn.zip").items()}
    problem = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(files["bom.json"].decode())
    assert problem is None
    found = {part["name"]: part for part in json.loads(files["bom.json"])["components"]}
    assert set(found) == {"cnn.int8.tflite", "cnn.int8.onnx", "oddeven"}
    model = found["cnn.int8.tflite"]
    assert model["hashes"][0]["content"] == hashlib.sha256(files["model/cnn.int8.tflite"]).hexdigest()
    assert {"name": "oddeven:parity", "value": "PASS"} in model["properties"]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [metric["type"] for metric in metrics] == ["agreement", "accuracy", "drop_pp"]


def test_a_file_that_holds_code_is_left_out(run, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "cnn")
    path = tmp_path / "cnn" / "manifest.json"
    manifest = json.loads(path.read_text())
    (record,) = (record for record in manifest["files"] if record["file"] == "cnn.int8.tflite")
    manifest["files"].append({**record, "file": "cnn.int8.zip", "format": "c"})
    path.write_text(json.dumps(manifest))
    done = run("bundle", path.parent, "--out", tmp_path / "pi.zip")
    assert done.returncode == 0, done.stderr
    names = {Path(name).name for name in contents(tmp_path / "pi.zip")}
    assert {"cnn.int8.tflite", "cnn.int8.onnx"} < names
    assert "cnn.int8.zip" not in names


def test_what_it_prints_answers_and_the_installed_oddeven_makes_the_same_wheel(pi, digit, tmp_path):
    assert answer(pi, digit) == "odd"
    python = pi / "oddeven" / "current" / "venv" / "bin" / "python"
    out = tmp_path / "from-wheel.zip"
    command = [python, "-m", "oddeven.runtime", "bundle", "mlp", "--out", out]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert contents(out) == contents(pi / "bundle.zip")


def test_the_installed_command_takes_a_model_of_any_name_that_a_bundle_holds(tmp_path):
    script = (DEVICE / "install.sh").read_text()
    writing = script[script.index('echo "$chosen"') : script.index("for unit in")]
    installed = tmp_path / "venv" / "bin" / "oddeven"
    installed.parent.mkdir(parents=True)
    installed.write_text('#!/bin/sh\necho "$ODDEVEN_MODEL"\n')
    installed.chmod(0o755)
    for name in ("my parts.int8.tflite", "it's.int8.tflite", "a}$(echo b).int8.tflite"):
        setting = {**os.environ, "stage": str(tmp_path), "chosen": f"/model/{name}"}
        setting.pop("ODDEVEN_MODEL", None)
        subprocess.run(["sh", "-euc", writing], env=setting, check=True)
        done = subprocess.run([tmp_path / "oddeven"], env=setting, capture_output=True, text=True, check=True)
        assert done.stdout == f"/model/{name}\n"


def test_what_it_prints_for_a_bundle_of_an_odd_name_can_be_pasted(run, tmp_path):
    done = run("bundle", "mlp", "--delta", "--out", tmp_path / "my pi.zip")
    assert "oddeven update 'my pi.zip'" in done.stderr
    done = run("bundle", "mlp", "--out", tmp_path / "-pi.zip")
    assert "zipfile -e ./-pi.zip ." in done.stderr


def test_what_cannot_be_bundled_is_refused(run, tmp_path):
    for name in ("back\\slash.tflite", "mlp.int8\n.tflite"):
        (tmp_path / name).touch()
        done = run("bundle", tmp_path / name, "--out", tmp_path / "x.zip")
        assert (done.returncode, "no bundle can hold" in done.stderr) == (2, True)
    for arguments, code in ((("nope",), 2), (("mlp", "--precision", "float32"), 2), (("mlp", "--offline", "beos"), 2)):
        done = run("bundle", *arguments, "--out", tmp_path / "x.zip")
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert not (tmp_path / "x.zip").exists()


def test_an_artifact_folder_gives_all_its_files_of_the_precision(run, exported, tmp_path):
    out = tmp_path / "folder.zip"
    done = run("bundle", exported, "--precision", "int8", "--out", out)
    assert done.returncode == 0, done.stderr
    models = {Path(name).name for name in contents(out) if "/model/" in name}
    assert models == {"cnn.int8.tflite", "cnn.int8.onnx", "cnn.selftest.npz"}


def test_a_file_that_failed_the_gate_is_packed_with_a_note(run, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "cnn")
    manifest = json.loads((tmp_path / "cnn" / "manifest.json").read_text())
    for record in manifest["files"]:
        record["parity"]["verdict"] = "FAIL" if record["file"] == "cnn.int8.onnx" else record["parity"]["verdict"]
    (tmp_path / "cnn" / "manifest.json").write_text(json.dumps(manifest))
    for name, noted in (("cnn.int8.onnx", True), ("cnn.int8.tflite", False)):
        done = run("bundle", tmp_path / "cnn" / name, "--out", tmp_path / "one.zip")
        assert (done.returncode, f"{name} did not pass the gate" in done.stderr) == (0, noted)


def test_an_offline_bundle_holds_all_that_the_pi_needs(run, tmp_path):
    out = tmp_path / "offline.zip"
    done = run("bundle", "mlp", "--serve", "--offline", "bookworm-arm64", "--out", out)
    assert done.returncode == 0, done.stderr
    wheels = unpack(out, tmp_path) / "wheels"
    native = [path.name for path in wheels.iterdir() if not path.name.endswith("-none-any.whl")]
    assert native
    assert all("_aarch64" in name and ("-cp311-" in name or "-abi3-" in name) for name in native)
    # Pip, told of nothing but that folder, finds everything for a 64-bit Pi of Debian 12.
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index", f"--find-links={wheels}",
         "--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--platform=manylinux2014_aarch64",
         *platforms, f"--target={tmp_path / 'target'}", "oddeven", "starlette", "uvicorn", "prometheus-client"],
        check=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_an_update_killed_halfway_and_then_made(pi, run, digit, tmp_path):
    first = current(pi)
    assert run("bundle", "cnn", "--out", tmp_path / "cnn.zip").returncode == 0
    bundle = unpack(tmp_path / "cnn.zip", tmp_path)
    process = subprocess.Popen(["sh", bundle / "install.sh"], env=environment(pi), start_new_session=True)
    while len(versions(pi)) < 2:
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert current(pi) == first
    assert answer(pi, digit) == "odd"

    done = installer(bundle, pi)
    assert done.returncode == 0, done.stderr
    assert current(pi, "previous") == first
    assert versions(pi) == {first, current(pi)}
    assert [path.name for path in (pi / "oddeven" / "current" / "model").glob("*.tflite")] == ["cnn.int8.tflite"]
    assert answer(pi, digit) == "odd"


@pytest.mark.slow
def test_a_model_that_fails_its_self_test_leaves_the_old_one_in_place(pi, digit, tmp_path):
    bundle = unpack(pi / "bundle.zip", tmp_path)
    path = bundle / "model" / "mlp.selftest.npz"
    golden = load_golden(path)
    golden.answers["mlp.int8.tflite"][0] += np.float32(0.5)
    before = (current(pi), versions(pi))
    whole = path.read_bytes()
    save_golden(golden, path)
    done = installer(bundle, pi)  # a damaged file is seen at once
    assert (done.returncode, "damaged" in done.stderr) == (1, True)
    sums = bundle / "SHA256SUMS"
    sums.write_text(
        sums.read_text().replace(hashlib.sha256(whole).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest())
    )
    done = installer(bundle, pi)
    assert (done.returncode, "failed its self-test" in done.stderr) == (1, True)
    assert "is as it was" in done.stderr
    assert (current(pi), versions(pi)) == before
    assert answer(pi, digit) == "odd"


def test_a_prefix_that_would_break_a_unit_file_is_refused(pi, tmp_path):
    bundle = unpack(pi / "bundle.zip", tmp_path)
    done = subprocess.run(
        ["sh", bundle / "install.sh", tmp_path / "two words"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "PREFIX" in done.stderr) == (1, True)


def test_the_installer_is_plain_sh():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        [shellcheck, "--shell=sh", DEVICE / "install.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_bundle_with_serve_installs_a_server_that_its_unit_starts(run, tmp_path):
    assert run("bundle", "mlp", "--serve", "--out", tmp_path / "serve.zip").returncode == 0
    bundle = unpack(tmp_path / "serve.zip", tmp_path)
    done = installer(bundle, tmp_path)
    assert done.returncode == 0, done.stderr
    settings = tmp_path / "oddeven" / "serve.env"
    token = settings.read_text().strip().removeprefix("ODDEVEN_TOKEN=")
    assert (len(token) > 20, settings.stat().st_mode & 0o777) == (True, 0o600)
    unit = (tmp_path / "oddeven" / "current" / "oddeven-serve.service").read_text()
    command = unit.partition("ExecStart=")[2].partition("\n")[0].split()
    started = {**environment(tmp_path), "ODDEVEN_TOKEN": token}
    process = subprocess.Popen([*command, "--port", "0"], env=started, stdout=subprocess.PIPE, text=True)
    try:
        address = urlsplit(process.stdout.readline().strip())
        assert address.query == f"token={token}"
        request = Request(f"http://127.0.0.1:{address.port}/v2", headers={"authorization": f"Bearer {token}"})
        with urlopen(request, timeout=30) as response:
            assert json.load(response)["name"] == "oddeven"
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert installer(bundle, tmp_path).returncode == 0  # an update keeps the token
    assert token in settings.read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
@pytest.mark.parametrize("name", ["oddeven-watch.service", "oddeven-serve.service"])
def test_systemd_finds_nothing_wrong_with_the_unit(pi, tmp_path, name):
    unit, prefix = tmp_path / name, pi / "oddeven"
    unit.write_text((DEVICE / name).read_text().replace("@PREFIX@", str(prefix)).replace("@USER@", getuser()))
    assert "@" not in unit.read_text().replace("@system-service", "")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])
