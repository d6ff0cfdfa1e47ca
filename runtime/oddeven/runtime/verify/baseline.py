"""Today's predictions against those of an earlier report that somebody accepted."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels
from oddeven.runtime.errors import DataError
from oddeven.runtime.parity.check import FAIL, PASS, Check
from oddeven.runtime.verify.report import Broken, FileReport, Report

SHOWN = 8
RENEW = "Look at these images; if the change is wanted, run again with --update-baseline and commit the file."


def unpack_predictions(files: Sequence[FileReport]) -> npt.NDArray[np.uint8]:
    """What each of `files` predicts for the same images, (F, N): label 0 or 1, or 2 for unknown.

    Images are unknown only where all files, which may be of older reports, tell.

    Raises:
        DataError: a report does not hold as many predictions as it says.
    """
    predictions = np.stack([unpack(file.answers, file) for file in files]).astype(np.uint8)
    if all(file.known for file in files):
        unknown = [unpack(file.known.answers, file) for file in files if file.known]
        predictions[np.stack(unknown)] = 2
    return predictions


def unpack(answers: str, file: FileReport) -> npt.NDArray[np.bool_]:
    """The `answers` of `file`, bool (N,); errors as of `unpack_predictions`."""
    count = file.parity.count
    try:
        bits = np.frombuffer(base64.b64decode(answers, validate=True), np.uint8)
    except ValueError:
        bits = np.empty(0, np.uint8)
    if not 0 < count <= 8 * len(bits) < count + 8:
        raise DataError(
            f"The report does not hold the {count:,} predictions of {file.file}; make it anew with --json FILE."
        )
    return np.unpackbits(bits, count=count).astype(bool)


def check_baseline(file: FileReport, labels: Labels | None, baseline: Report) -> Check:
    """Whether `file` predicts as it did in `baseline`, and how its size and speed moved.

    Args:
        labels: uint8 (N,), of the images; None where they are not known.

    Raises:
        DataError: the baseline was made from other images.
    """
    old = next((other for other in baseline.files if _key(other) == _key(file)), None)
    if old is None:
        return Check("baseline", FAIL, f"The baseline does not hold {file.file} on {file.engine}.", RENEW)
    if old.data_sha256 != file.data_sha256:
        raise DataError(
            f"The baseline for {file.file} was made from other images or labels (SHA-256 {old.data_sha256[:12]}..., "
            f"here {file.data_sha256[:12]}...); make a new one with --update-baseline."
        )
    now, before = unpack_predictions([file, old])
    changed = np.flatnonzero(now != before)
    moved = (
        f"{file.size_bytes:,} bytes ({file.size_bytes - old.size_bytes:+,}), {file.latency_us:.1f} us an image "
        f"({old.latency_us:.1f} us on the baseline's machine)"
    )
    if not len(changed):
        return Check("baseline", PASS, f"Every prediction is the baseline's; {moved}.")
    wrong = "" if labels is None else f", {int((now[changed] == 1 - labels[changed]).sum())} of them newly wrong"
    shown = ", ".join(map(str, changed[:SHOWN])) + (", ..." if len(changed) > SHOWN else "")
    reason = f"{len(changed)} predictions are not the baseline's{wrong}: images {shown}; {moved}."
    return Check("baseline", FAIL, reason, RENEW)


def missing_files(files: Sequence[FileReport], baseline: Report) -> Iterator[Broken]:
    """What `baseline` holds for the engines that took part and this run did not check."""
    checked, engines = {_key(file) for file in files}, {file.engine for file in files}
    for old in baseline.files:
        if old.engine in engines and _key(old) not in checked:
            yield Broken(old.model, old.file, f"It is in the baseline, on {old.engine}, and was not checked.")


def _key(file: FileReport) -> tuple[str, str]:
    return file.file, file.engine
