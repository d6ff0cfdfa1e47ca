"""The report of a run over exported files, as data: for `parity.json`, and for the pages that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oddeven.runtime.engines.saturation import Overflow
from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS, WORST_FIRST, Check, worst
from oddeven.runtime.parity.compare import Parity
from oddeven.runtime.parity.known import KnownParity
from oddeven.runtime.parity.policy import Policy


@dataclass(frozen=True)
class LayerError:
    """How far quantization moved one layer's output.

    Attributes:
        error: root mean square difference from the float activations, over their own root mean square.
    """

    layer: str
    error: float


@dataclass(frozen=True)
class FileReport:
    """One exported file.

    Attributes:
        model, labels: of its spec.
        file: its path below the report's folder.
        format, precision: as in the manifest.
        engine: that ran it.
        size_bytes: of the whole file.
        latency_us: median time of one image on one thread, on the machine that made the report.
        data_sha256: of the images and labels that it was tested on.
        answers: for which of them it predicts label 1, packed to bits, in base64.
        parity: how it compares with its reference.
        checks: what else was checked, such as its size or its self-test.
        layers: where it failed and they could be measured, the worst layers first.
        advice: where it failed, what to try next.
        overflow: the layers in which 8-bit products can overflow on some CPUs.
        known: how its decisions between known and unknown compare with the reference's; None where it makes none.
    """

    model: str
    labels: tuple[str, str]
    file: str
    format: str
    precision: str
    engine: str
    size_bytes: int
    latency_us: float
    data_sha256: str
    answers: str
    parity: Parity
    checks: tuple[Check, ...] = ()
    layers: tuple[LayerError, ...] = ()
    advice: str = ""
    overflow: tuple[Overflow, ...] = ()
    known: KnownParity | None = None

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """The checks of parity and all others."""
        return (*self.parity.checks, *self.checks)

    @property
    def verdict(self) -> str:
        """The worst of all checks."""
        return worst(self.all_checks).verdict

    @property
    def reason(self) -> str:
        """Why it does not pass, or why it does, and what to do."""
        telling = [check for check in self.all_checks if check.verdict != PASS] or [worst(self.all_checks)]
        advice = dict.fromkeys(check.advice for check in telling if check.advice)
        return " ".join([*(check.reason for check in telling), *advice])

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of checks that pass."""
        return tuple(f"{check.reason} {check.advice}" for check in self.all_checks if check.noted)


@dataclass(frozen=True)
class Broken:
    """A file that could not be checked, and why."""

    model: str
    file: str
    reason: str


@dataclass(frozen=True)
class Stability:
    """How much a file depends on the choice of calibration images: two files from disjoint draws, compared.

    Attributes:
        draw: images in each draw.
        count: validation images that both files were run on.
        differing: predictions that differ.
        max_shift: largest difference in probability.
    """

    model: str
    format: str
    draw: int
    count: int
    differing: int
    max_shift: float

    def __str__(self) -> str:
        return (
            f"{self.model} {self.format}: calibrated on two disjoint draws of {self.draw} training images, "
            f"{self.differing} of {self.count:,} validation predictions differ, "
            f"and probabilities by {self.max_shift:.3f} at most"
        )


@dataclass(frozen=True)
class Report:
    """All files of one run.

    Attributes:
        machine: CPU and cores, for the latencies.
        versions: of the packages that took part, by name.
        seconds: wall time of the run after imports.
        peak_memory_mb: largest resident size of the process.
        stability: of the calibrated files, where it was measured.
        broken: what could not be checked.
        cpu_features: as `host_info.cpu_features` gives them.
    """

    policy: Policy
    machine: str
    versions: Mapping[str, str]
    seconds: float
    peak_memory_mb: float
    files: tuple[FileReport, ...]
    stability: tuple[Stability, ...] = ()
    broken: tuple[Broken, ...] = ()
    cpu_features: tuple[str, ...] = ()
    schema_version: int = 1

    @property
    def verdict(self) -> str:
        """The worst verdict of all files; FAIL where one is broken, INCONCLUSIVE where there is none."""
        if self.broken:
            return FAIL
        return min((file.verdict for file in self.files), key=WORST_FIRST.index, default=INCONCLUSIVE)
