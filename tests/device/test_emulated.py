"""The real runtime in Debian's userland of a Raspberry Pi, under emulation: every engine that a Pi can have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from oddeven.runtime import files
from oddeven.runtime.artifacts.manifest import MANIFEST, load_manifest
from oddeven.runtime.artifacts.reference import REFERENCE, load_reference, save_reference
from oddeven.runtime.schema import to_json

ROOT = Path(__file__).parents[2]
EMULATE = ROOT / "tests" / "device" / "emulate.sh"
ANSWERS = Path(__file__).with_name("answers.py")
COUNT, FEW = 400, 200  # enough for a PASS under the policy for few images
PRECISIONS = ("int8", "float32", "float16")
# Float sums differ by the order of their terms. A sum of n terms is off by n * 2**-24 of their absolute sum at the very
# most, and by about the root of n where roundings are random: 28 for the 800 terms of the cnn's longest sum. With terms
# that add up to 24 near the threshold (see `parity.TIES`), and the sigmoid's slope of a quarter, that is 1e-5.
# Measured: 7.4e-6 on armhf, 7.2e-7 on arm64.
FLOAT_BOUND = 1e-5
UNBUILT = 4  # exit code of emulate.sh
SUFFIX = {"litert": ".tflite", "tflite-runtime": ".tflite", "onnxruntime": ".onnx"}

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not os.environ.get("CI")
        and not all(map(shutil.which, ("mmdebstrap", "qemu-aarch64-static", "qemu-arm-static"))),
        reason="no emulated Raspberry Pi: apt-get install mmdebstrap qemu-user-static debian-archive-keyring",
    ),
]


@dataclass(frozen=True)
class Row:
    suite: str
    arch: str
    engines: tuple[str, ...]
    packages: str = "default"
    precisions: tuple[str, ...] = PRECISIONS[:2]  # emulated float sums are slow
    int8_bound: float = 0.0
    optional: bool = False  # not every mirror has it

    def __str__(self):
        return f"{self.suite}-{self.arch}-{'-'.join(self.engines)}"

    @property
    def bundled(self):
        """Whether the wheel's own models, which are TFLite, run there."""
        return any(SUFFIX[engine] == ".tflite" for engine in self.engines)

    def run(self, *command, cwd=None):
        options = ["--suite", self.suite, "--arch", self.arch, "--engines", self.packages, "--"]
        command = [EMULATE, *options, *command]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=600, check=False, cwd=cwd
        )


OLDEST = Row("bookworm", "armhf", ("tflite-runtime",), precisions=PRECISIONS)
ROWS = (
    Row("bookworm", "arm64", ("litert", "onnxruntime"), precisions=PRECISIONS),
    Row("trixie", "arm64", ("litert", "onnxruntime")),
    Row("bookworm", "arm64", ("tflite-runtime",), "tflite"),
    OLDEST,
    # Debian's own engine, of another version than PyPI's: a step of eight bits apart. Measured: 2.1e-3.
    Row("trixie", "armhf", ("onnxruntime",), int8_bound=1 / 255, optional=True),
)


def folder_name(suffix, precisions):
    return f"{suffix[1:]}-{len(precisions)}"


@pytest.fixture(scope="module")
def folders(exported, tmp_path_factory):
    """An artifact folder for each kind of file, with the first `COUNT` reference pictures."""
    manifest = load_manifest(exported)
    whole = load_reference(exported / REFERENCE)
    out = tmp_path_factory.mktemp("few")
    for suffix, precisions in product(sorted(set(SUFFIX.values())), {row.precisions for row in ROWS}):
        folder = out / folder_name(suffix, precisions)
        folder.mkdir()
        save_reference(
            type(whole)(**{key: value[:COUNT] if np.ndim(value) else value for key, value in vars(whole).items()}),
            folder / REFERENCE,
        )
        shutil.copy(exported / "cnn.selftest.npz", folder)
        chosen = tuple(f for f in manifest.files if f.file.endswith(suffix) and f.precision in precisions)
        for record in chosen:
            shutil.copy(exported / record.file, folder)
        hashed = files.sha256((folder / REFERENCE).read_bytes())
        (folder / MANIFEST).write_text(to_json(replace(manifest, files=chosen, reference_sha256=hashed)))
    return out


@pytest.fixture(scope="module")
def pictures(raw, tmp_path_factory):
    """Real digits as PNG and JPEG, and one as a pen leaves it on grey paper; their true labels by file name."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, suffix in enumerate(("png", "jpg", "png", "jpg")):
        Image.fromarray(raw["x_test"][number]).save(folder / f"{number}-{raw['y_test'][number]}.{suffix}")
    paper = Image.linear_gradient("L").resize((640, 480)).point(lambda level: 170 + level // 4)
    ImageDraw.Draw(paper).line([(250, 110), (390, 110), (300, 380)], fill=40, width=22, joint="curve")
    paper.filter(ImageFilter.GaussianBlur(2)).convert("RGB").save(folder / "photo-7.jpg", quality=80)
    return folder


@pytest.fixture(scope="module")
def results(folders, pictures, tmp_path_factory):
    """By row and command, what the commands gave; two rows at a time."""
    out = tmp_path_factory.mktemp("answers")

    def everything(row):
        if row.optional and (tried := row.run("python", "-c", "pass")).returncode == UNBUILT:
            return tried.stderr
        folder = folders / folder_name(SUFFIX[row.engines[0]], row.precisions)
        files = () if row.bundled else sorted(folder.glob(f"*{SUFFIX[row.engines[0]]}"))
        done = {
            "selftest": row.run("oddeven", "selftest", "--json", *files),
            "predict": row.run("oddeven", "predict", pictures, "--json", *(("--model", files[-1]) if files else ())),
        }
        for engine in row.engines:
            folder = folders / folder_name(SUFFIX[engine], row.precisions)
            few = ("--policy", "small")
            done[engine] = row.run("oddeven", "verify", folder, "--engine", engine, "--json", "-", *few, cwd=out)
            name = out / f"{row}-{engine}.npz"
            done[name] = row.run("python", ANSWERS, name, engine, FEW, folder)
        return done

    with ThreadPoolExecutor(2) as pool:
        return out, dict(zip(ROWS, pool.map(everything, ROWS), strict=True))


@pytest.fixture
def done(results, row):
    """What the commands gave on a row."""
    if isinstance(results[1][row], str):
        pytest.skip(f"{row} cannot be had: {results[1][row][-300:]}")
    return results[1][row]


@pytest.fixture(scope="module")
def native(folders, tmp_path_factory):
    """What each engine answers here, by engine and file."""
    out = tmp_path_factory.mktemp("native")
    for engine, suffix in SUFFIX.items():
        environment = dict(os.environ)
        if engine == "tflite-runtime":
            if sys.version_info >= (3, 12):
                continue
            site = tmp_path_factory.mktemp("site")
            install = [sys.executable, "-m", "pip", "--quiet", "install", "--target", site]
            old = ["tflite-runtime==2.14.0", "numpy<2", "pillow", "click"]
            subprocess.run([*install, *old], check=True, timeout=300)
            environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "runtime"), str(site)])
        command = [
            sys.executable,
            ANSWERS,
            out / f"{engine}.npz",
            engine,
            str(FEW),
            folders / folder_name(suffix, PRECISIONS),
        ]
        subprocess.run(command, check=True, env=environment, timeout=300)
    return {path.stem: dict(np.load(path)) for path in out.glob("*.npz")}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_pi_gives_the_golden_answers(done, row):
    said = done["selftest"]
    assert said.returncode == 0, said.stderr
    outcomes = [json.loads(line) for line in said.stdout.splitlines()]
    assert {outcome["engine"] for outcome in outcomes} == {row.engines[0]}
    assert len(outcomes) == (3 if row.bundled else len(row.precisions))
    assert all(outcome["passed"] for outcome in outcomes)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_pi_answers_for_png_jpeg_and_a_photograph(done, row):
    said = done["predict"]
    assert said.returncode == 0, said.stderr
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(answers) == 5
    for answer in answers:
        digit = int(Path(answer["file"]).stem.split("-")[1])
        assert answer["label"] == ("even", "odd")[digit % 2], answer


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_pi_verifies_every_file(done, row):
    for engine in row.engines:
        said = done[engine]
        assert said.returncode == 0, said.stderr
        found = json.loads(said.stdout)["files"]
        assert len(found) == len(row.precisions)
        parities = {(file["engine"], file["parity"]["verdict"], file["parity"]["count"]) for file in found}
        assert parities == {(engine, "PASS", COUNT)}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_pi_answers_as_this_machine_does(results, done, native, row):
    for engine in row.engines:
        name = results[0] / f"{row}-{engine}.npz"
        assert done[name].returncode == 0, done[name].stderr
        if engine not in native:
            pytest.skip("tflite-runtime has no wheel for this Python")
        with np.load(name) as found:
            assert len(found.files) == len(row.precisions)
            for file in found.files:
                expected = native[engine][file]
                # An ONNX file of 8 bits has a last layer and ends in float.
                bound = row.int8_bound if file.endswith(".int8.tflite") else max(FLOAT_BOUND, row.int8_bound)
                assert len(found[file]) == (COUNT if ".int8." in file else FEW)
                np.testing.assert_allclose(found[file], expected, rtol=0, atol=bound, err_msg=f"{engine} {file}")


def test_a_32_bit_pi_says_that_there_is_no_onnxruntime(folders, pictures):
    done = OLDEST.run(
        "oddeven", "predict", pictures, "--model", folders / folder_name(".onnx", PRECISIONS) / "cnn.int8.onnx"
    )
    assert done.returncode == 3
    assert "no onnxruntime for 32 bits" in done.stderr


def test_what_cannot_be_built_is_not_taken_as_built(tmp_path):
    """A mirror that is not there: exit code 4, and nothing under the finished name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mmdebstrap").write_text("#!/bin/sh\necho no mirror >&2\nexit 1\n")
    (folder / "mmdebstrap").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    command = [str(EMULATE), "--", "python", "-V"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "cannot build" in done.stderr
    built = [path.name for path in (tmp_path / "oddeven" / "emulate").iterdir() if path.is_dir()]
    assert all(name.endswith(".part") for name in built)
