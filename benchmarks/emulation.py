"""The C of int8 models, built and run: on this machine, and as firmware on emulated Cortex-M cores."""

from __future__ import annotations

import ctypes
import io
import re
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from shared import ROOT

from oddeven.export.c.library import c_library
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.engines.registry import open_engine
from oddeven.runtime.spec import ModelSpec

FIRMWARE = ROOT / "tests" / "device" / "firmware"
# Name -> compiler flags, QEMU's board. QEMU has no board with an M0+: an M3 runs its instructions, which are a subset.
CORES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "M0+": (("-mcpu=cortex-m0plus",), "mps2-an385"),
    "M3": (("-mcpu=cortex-m3",), "mps2-an385"),
    "M4": (("-mcpu=cortex-m4",), "mps2-an386"),
    "M4, no SMLAD": (("-mcpu=cortex-m4", "-U__ARM_FEATURE_SIMD32"), "mps2-an386"),
}
FLAGS = ("-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O2", "-mthumb", "-mfloat-abi=soft", "-ffreestanding",
         "-fno-tree-loop-distribute-patterns", "-ffunction-sections", "-fdata-sections")  # fmt: skip
HOST_FLAGS = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-O2")
LINK: tuple[str | Path, ...] = ("-nostdlib", "-nostartfiles", "-Wl,--gc-sections", "-T", FIRMWARE / "mps2.ld")
SINGLE_ROUNDING = "-DODDEVEN_SINGLE_ROUNDING"
TICK = 40  # instructions: SysTick counts the board's 25 MHz, and `-icount shift=0` gives each instruction 1 ns
Answers = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """What the firmware said; `flash` and `ram` are of the model alone, in bytes, `ram` without the stack."""

    exit_code: int
    wrong: int
    images: int
    stack: int
    instructions: int
    flash: int
    ram: int


def expected_answers(path: Path, images: Pixels) -> Answers:
    """What tflite-micro computes for the file `path`, uint8 (N,)."""
    engine = open_engine(path, "tflite-micro")
    q_outputs: Answers = engine.invoke(images)[0][:, 0]
    engine.close()
    return q_outputs


def unpack(path: Path, folder: Path) -> Path:
    """The C file in the library of the int8 `.tflite` file `path`, which is unpacked into `folder`."""
    spec = cast(ModelSpec, read_spec(path))
    with zipfile.ZipFile(io.BytesIO(c_library(path.read_bytes(), spec))) as archive:
        archive.extractall(folder)
    return folder / f"oddeven_{spec.name}" / "src" / f"oddeven_{spec.name}.c"


def compute(source: Path, images: Pixels, *flags: str) -> Answers:
    """Probability and raw familiarity by the C file `source`, which this machine's gcc builds with `flags`: (N, 2)."""
    built = source.with_name(f"library{''.join(flags)}.so")
    subprocess.run(["gcc", "-std=c99", *HOST_FLAGS, *flags, "-shared", "-fPIC", "-o", built, source], check=True)
    library = ctypes.CDLL(str(built))
    probability, familiarity = (library[f"{source.stem}_{what}"] for what in ("probability", "raw_familiarity"))
    probability.argtypes, probability.restype = [ctypes.c_char_p], ctypes.c_uint8
    familiarity.argtypes, familiarity.restype = [], ctypes.c_uint8
    return np.array([(probability(image.tobytes()), familiarity()) for image in images], np.uint8)


def both_roundings(path: Path, images: Pixels, folder: Path) -> tuple[Answers, Answers]:
    """The probabilities of `images`, uint8 (N,), as TensorFlow Lite for Microcontrollers rounds, and as LiteRT does."""
    source = unpack(path, folder)
    return compute(source, images)[:, 0], compute(source, images, SINGLE_ROUNDING)[:, 0]


def emulate(
    path: Path,
    images: Pixels,
    expected: Answers,
    core: str,
    folder: Path,
    counted: bool = False,
    flags: Sequence[str] = (),
) -> Run:
    """Build the int8 `.tflite` file `path` as C for `core` in `folder`, and let it compute `images`.

    Args:
        counted: count instructions, which is slower.
        flags: more of them for the compiler.
    """
    (options, board), source = CORES[core], unpack(path, folder)
    _write_goldens(folder / "goldens.h", source.stem, images, expected)
    compiler: list[str | Path] = ["arm-none-eabi-gcc", *FLAGS, *options, *flags, f"-I{source.parent}", f"-I{folder}"]
    model, elf = folder / "model.o", folder / "firmware.elf"
    subprocess.run([*compiler, "-Wconversion", "-pedantic", "-c", "-o", model, source], check=True)
    subprocess.run([*compiler, *LINK, "-o", elf, FIRMWARE / "main.c", model, "-lgcc"], check=True)
    emulator = ["qemu-system-arm", "-M", board, "-nographic", "-semihosting-config", "enable=on,target=native",
                "-monitor", "none", "-serial", "none", "-kernel", str(elf)]  # fmt: skip
    counting = ["-icount", "shift=0"] if counted else []
    done = subprocess.run([*emulator, *counting], capture_output=True, text=True, check=False, timeout=300)
    said = {key: int(value) for key, value in re.findall(r"(\w+) (\d+)", done.stdout + done.stderr)}
    size = subprocess.run(["arm-none-eabi-size", model], capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, size.splitlines()[1].split()[:3])
    return Run(
        exit_code=done.returncode,
        wrong=said.get("wrong", -1),
        images=said.get("images", 0),
        stack=said.get("stack", 0),
        instructions=said.get("ticks", 0) * TICK,
        flash=text + data,
        ram=bss,
    )


def _write_goldens(path: Path, name: str, images: Pixels, expected: Answers) -> None:
    flat = images.reshape(len(images), -1)
    rows = ",\n".join("{" + ",".join(map(str, row)) + "}" for row in flat.tolist())
    path.write_text(
        f'#include "{name}.h"\n#define IMAGES {len(images)}\n#define predict {name}_probability\n'
        f"static const uint8_t images[IMAGES][{flat.shape[1]}] = {{\n{rows}}};\n"
        f"static const uint8_t expected[IMAGES] = {{{','.join(map(str, expected.tolist()))}}};\n"
    )
