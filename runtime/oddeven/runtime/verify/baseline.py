"""Today's answers against those of an earlier report: what changed since somebody last looked."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array
from oddeven.runtime.errors import DataError
from oddeven.runtime.parity.check import FAIL, Check, verdict_on
from oddeven.runtime.verify.report import Broken, FileReport, Report

SHOWN = 8
RENEW = "Look at these pictures; if the change is wanted, run again with --update-baseline and commit the file."


def unpack_predictions(file: FileReport) -> npt.NDArray[np.bool_]:
    """Which pictures `file` answers label 1, (N,).

    Raises:
        DataError: the report does not hold as many answers as it says.
    """
    count = file.parity.count
    try:
        bits = np.frombuffer(base64.b64decode(file.answers, validate=True), np.uint8)
    except ValueError:
        bits = np.empty(0, np.uint8)
    if not 0 < count <= 8 * len(bits) < count + 8:
        raise DataError(
            f"The report does not hold the {count:,} answers of {file.file}; make it anew with --json FILE."
        )
    return np.unpackbits(bits, count=count).astype(bool)


def check_baseline(file: FileReport, labels: Array | None, before: Report) -> Check:
    """Whether `file` answers as it did in `before`, and how its size and speed moved.

    Args:
        labels: uint8 (N,), of the pictures; None where they are not known.

    Raises:
        DataError: the baseline was made from other pictures.
    """
    old = next((other for other in before.files if _key(other) == _key(file)), None)
    if old is None:
        return Check("baseline", FAIL, f"The baseline knows nothing of {file.file} on {file.engine}.", RENEW)
    if old.data_sha256 != file.data_sha256:
        raise DataError(
            f"The baseline for {file.file} was made from other pictures or labels (SHA-256 {old.data_sha256[:12]}..., "
            f"here {file.data_sha256[:12]}...); make a new one with --update-baseline."
        )
    now = unpack_predictions(file)
    changed = np.flatnonzero(now != unpack_predictions(old))
    wrong = (
        "" if labels is None else f", {int((now[changed] != labels[changed].astype(bool)).sum())} of them newly wrong"
    )
    moved = (
        f"{file.size_bytes:,} bytes ({file.size_bytes - old.size_bytes:+,}), {file.latency_us:.1f} us a picture "
        f"({old.latency_us:.1f} us on the baseline's machine)"
    )
    if not len(changed):
        return verdict_on("baseline", True, f"Every answer is the baseline's; {moved}.")
    shown = ", ".join(map(str, changed[:SHOWN])) + (", ..." if len(changed) > SHOWN else "")
    reason = f"{len(changed)} answers are not the baseline's{wrong}: pictures {shown}; {moved}."
    return verdict_on("baseline", False, reason, RENEW)


def missing_files(files: Iterable[FileReport], before: Report) -> Iterator[Broken]:
    """What the baseline has for the engines that took part, and this run did not check."""
    checked = list(files)
    here, engines = {_key(file) for file in checked}, {file.engine for file in checked}
    for old in before.files:
        if old.engine in engines and _key(old) not in here:
            yield Broken(old.model, old.file, f"It is in the baseline, on {old.engine}, and was not checked.")


def _key(file: FileReport) -> tuple[str, str]:
    return file.file, file.engine
