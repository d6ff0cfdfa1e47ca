"""Everything that a Raspberry Pi needs for one model, in one ZIP file: wheel, model, golden predictions, installer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddeven.export.bundle.bill_of_materials import BOM, bill_of_materials
from oddeven.export.bundle.signature import sign
from oddeven.export.bundle.wheel import build_wheel, zipped
from oddeven.runtime.artifacts.resolve import check_one_model, locate, resolve
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.registry import AUTO, holds_code
from oddeven.runtime.errors import MissingPackageError, ModelError, UsageError
from oddeven.runtime.files import sha256, write
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.update.bundle import NAME, RELEASE, SIGNATURE, SUMS, TOP
from oddeven.runtime.verify.golden import check_golden, golden_path

WHEELS = "wheels/"
DEVICE = Path(__file__).parent / "device"
OLDEST_GLIBC = 17


@dataclass(frozen=True)
class PiSystem:
    """A Raspberry Pi's operating system, as pip must know it to fetch wheels for it.

    Attributes:
        python, machine, glibc: its Python, its architecture, and the minor version of its glibc 2.
        requirements: what oddeven needs there. Markers cannot say it: pip reads them for the machine that it runs on.
        options: more for pip.
    """

    python: str
    machine: str
    glibc: int
    requirements: tuple[str, ...]
    options: tuple[str, ...] = ()


LITERT = ("ai-edge-litert>=2.0", "numpy>=1.24", "pillow>=9.4", "click>=8.1", "flatbuffers>=23.5", "paho-mqtt>=2")
# NumPy and Pillow are Debian's where this is needed: PyPI has none for 32 bits.
TFLITE_RUNTIME = ("tflite-runtime>=2.14", "click>=8.1", "flatbuffers>=23.5", "paho-mqtt>=2")
SERVE_UNIT = "oddeven-serve.service"
# The extra `serve` and what it needs in turn, which pip does not fetch under `--no-deps`. PyPI has no httptools for 32
# bits, and uvicorn runs without it.
SERVE = ("starlette>=0.40", "uvicorn>=0.30", "prometheus-client>=0.20", "h11", "anyio", "idna", "sniffio",
         "typing-extensions")  # fmt: skip
PI_SYSTEMS: Mapping[str, PiSystem] = {
    "bookworm-arm64": PiSystem("3.11", "aarch64", 36, LITERT),
    "trixie-arm64": PiSystem("3.13", "aarch64", 41, LITERT),
    "bookworm-armhf": PiSystem("3.11", "armv7l", 36, TFLITE_RUNTIME, ("--no-deps",)),
}


def bundle_models(model: str, precision: str) -> list[Path]:
    """The files of `precision` that `model`, a bundled name, a file or an artifact folder, means, each self-tested.

    Raises:
        UsageError: there is no such model, it is of another precision, or a device would refuse its name.
        ModelError: the folder has no such file that passed the gate, or a file fails its self-test.
        MissingPackageError: no engine for a file is installed, so nobody can tell.
    """
    found = _chosen(model, precision)
    for path in found:
        if not NAME.fullmatch(path.name):
            raise UsageError(f"{str(path)!r} has a name that no bundle can hold; export the model under another.")
        with Classifier.load(path) as classifier:
            if classifier.spec.precision != precision:
                raise UsageError(f"{path} is {classifier.spec.precision}: add --precision {classifier.spec.precision}")
        outcome = check_golden(path, AUTO)
        if not outcome.passed:
            raise ModelError(f"{path} fails its own self-test here, off by {outcome.largest:.6f}; export it again.")
    return found


def build_bundle(
    found: Sequence[Path],
    out: Path,
    target: PiSystem | None,
    serve: bool = False,
    release: int = 0,
    key: Path | None = None,
    delta: bool = False,
) -> None:
    """Write the model files `found` with all they need as the ZIP file `out`; equal input gives equal bytes.

    Args:
        target: put the wheels for this one inside, so that installing needs no network.
        serve: let the installer set up `oddeven serve` as well.
        release: a device refuses a bundle whose number is below that of the installed one.
        key: sign the list of checksums with this OpenSSH key.
        delta: list the wheels, and leave them out; `oddeven update` takes them from the version that is installed.

    Raises:
        UsageError: `key` cannot sign.
        MissingPackageError: there is no pip, or it could not fetch a wheel; or there is no ssh-keygen.
        OutputError: `out` cannot be written.
    """
    name, content = build_wheel()
    entries = {f"{WHEELS}{name}": content, RELEASE: f"{release}\n".encode()}
    for path in [*found, *{golden_path(path) for path in found}]:
        entries[f"model/{path.name}"] = path.read_bytes()
    for path in DEVICE.iterdir():
        if serve or path.name != SERVE_UNIT:
            entries[path.name] = path.read_bytes()
    if target:
        onnx = () if any(path.suffix == ".tflite" for path in found) else ("onnxruntime>=1.18",)
        entries |= _fetched(target, onnx + (SERVE if serve else ()))
    wheels = {name: content for name, content in entries.items() if name.startswith(WHEELS)}
    entries[BOM] = bill_of_materials(found, wheels)
    sums = "".join(f"{sha256(content)}  {name}\n" for name, content in sorted(entries.items()))
    entries[SUMS] = sums.encode()
    if key:
        entries[SIGNATURE] = sign(entries[SUMS], key)
    if delta:
        entries = {name: content for name, content in entries.items() if name not in wheels}
    write(out, zipped({f"{TOP}{name}": content for name, content in entries.items()}))


def _chosen(model: str, precision: str) -> list[Path]:
    """The file that `model` means, or, of a folder, those of `precision` that passed the gate and hold no code."""
    meant = resolve(model)
    if not any(file.verdict for file in meant):
        return [locate(model)]
    check_one_model(meant, model)
    passed = [file for file in meant if file.verdict == PASS and not holds_code(file.path)]
    found = [file.path for file in passed if file.precision == precision]
    if not found:
        others = ", ".join(sorted({file.precision for file in passed})) or "none at all"
        raise ModelError(f"{model} holds no {precision} file that passed the gate; it has {others}.")
    return found


def _fetched(target: PiSystem, more: tuple[str, ...]) -> dict[str, bytes]:
    """The wheels that `target` needs, and `more`, fetched by pip from where it is set up to look."""
    platforms = [f"--platform=manylinux_2_{minor}_{target.machine}" for minor in range(OLDEST_GLIBC, target.glibc + 1)]
    legacy = [f"--platform={kind}_{target.machine}" for kind in ("manylinux2014", "linux")]
    interpreter = ["--implementation=cp", f"--python-version={target.python}"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
             f"--dest={folder}", *platforms, *legacy, *interpreter, *target.options, *target.requirements, *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MissingPackageError(f"pip could not fetch the wheels for a {target.machine} Pi: {reason}")
        return {f"{WHEELS}{path.name}": path.read_bytes() for path in Path(folder).iterdir()}
