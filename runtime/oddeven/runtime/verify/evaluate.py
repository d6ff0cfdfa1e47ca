"""The gate: every check of one file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oddeven.runtime.artifacts.manifest import (
    check_hash,
    check_same_model,
)
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.latency import median_us
from oddeven.runtime.engines import saturation
from oddeven.runtime.engines.saturation import Overflow
from oddeven.runtime.errors import ModelError
from oddeven.runtime.parity.check import PASS, Check, verdict_on
from oddeven.runtime.parity.compare import Parity, compare
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.thresholds import ThresholdRule
from oddeven.runtime.spec import ModelSpec, model_name
from oddeven.runtime.verify.baseline import check_baseline
from oddeven.runtime.verify.golden import check_golden, golden_path
from oddeven.runtime.verify.report import Broken, FileReport, Report
from oddeven.runtime.verify.targets import Target, VerifyOptions


def evaluate(target: Target, asked: VerifyOptions, policy: Policy, before: Report | None) -> FileReport | Broken:
    """Every check of one file.

    Args:
        before: the report to compare with, if any.

    Raises:
        DataError: `before` is of other pictures.
    """
    path, model = target.path, target.manifest.spec.name if target.manifest else model_name(target.path)
    try:
        checks = tuple(_promises(target))
        with Classifier.load(path, target.engine) as classifier:
            if target.manifest and target.record:
                expected = replace(target.manifest.spec, threshold=target.record.threshold)
                check_same_model(path, classifier.spec, expected)
                checks = (*checks, Check("spec", PASS, "The file carries the manifest's spec."))
            kind = target.record.format if target.record else f"{path.suffix[1:]}-{classifier.spec.precision}"
            thresholds = None
            if target.manifest:
                thresholds = target.manifest.spec.threshold, classifier.spec.threshold
            if asked.choice and target.validation:
                thresholds, check = _operating_points(classifier, target.validation, asked.choice)
                checks = (*checks, check)
            known = target.record.overflow if target.record else ()
            report = examine(classifier, path, kind, target.reference, policy, checks, thresholds, known)
            report = replace(report, file=target.shown)
    except ModelError as error:
        return Broken(model, target.shown, str(error))
    if before is None:
        return report
    return replace(report, checks=(*report.checks, check_baseline(report, target.reference.labels, before)))


def _promises(target: Target) -> Iterator[Check]:
    """The checks of what was written down when the file was made: its hash and its golden answers."""
    golden = golden_path(target.path)
    if target.record and target.manifest:
        check_hash(target.path, target.record.sha256)
        check_hash(golden, target.manifest.selftest_sha256)
        yield Check("hash", PASS, "The file is the one that its manifest lists.")
    if golden.is_file():
        outcome = check_golden(target.path, target.engine)
        if outcome.reason:
            raise ModelError(outcome.reason)
        reason = f"The golden answers are met to within {outcome.largest:.2g}; allowed is {outcome.allowed:.2g}."
        advice = "This engine or CPU computes otherwise than the one that exported: try another engine or version."
        yield verdict_on("self-test", outcome.passed, reason, advice)


def _operating_points(
    classifier: Classifier, validation: Reference, choice: ThresholdRule
) -> tuple[tuple[float, float], Check]:
    """The thresholds that `choice` gives the reference and this file, and how far they lie apart."""
    reference = choice(validation.probabilities, validation.truth)
    own = choice(classifier.probabilities(validation.images), validation.truth)
    reason = f"The threshold is {reference:.4f} for the reference and, fitted anew, {own:.4f} for this file"
    return (reference, own), Check("operating point", PASS, f"{reason}: a shift of {own - reference:+.4f}.")


def examine(
    classifier: Classifier,
    path: Path,
    format: str,
    reference: Reference,
    policy: Policy,
    checks: tuple[Check, ...] = (),
    thresholds: tuple[float, float] | None = None,
    known: tuple[Overflow, ...] = (),
) -> FileReport:
    """All that is to be said of an open model file, beside the `checks` that were made before.

    Args:
        known: the manifest's record of what can overflow; how often it did on calibration is taken from it.
        thresholds: of the reference and of the file, where they are not both the spec's.

    Raises:
        ModelError: the model does not take the reference's pictures, or answers with no probabilities.
    """
    spec, size_bytes = classifier.spec, path.stat().st_size
    if spec.input.shape != reference.images.shape[1:]:
        raise ModelError(f"{path} takes {spec.input.shape} pictures; the reference's are {reference.images.shape[1:]}.")
    p = classifier.probabilities(reference.images)
    reference_threshold, threshold = thresholds or (spec.threshold, spec.threshold)
    if policy.max_bytes:
        reason = f"The file has {size_bytes:,} bytes; allowed are {policy.max_bytes:,}."
        size = verdict_on("size", size_bytes <= policy.max_bytes, reason, "Ship a smaller format, or raise max_bytes.")
        checks = (*checks, size)
    overflow: tuple[Overflow, ...] = ()
    if path.suffix == ".onnx":
        seen = {replace(found, seen=None): found for found in known}
        overflow = tuple(seen.get(found, found) for found in saturation.overflows(path))
        checks = (*checks, arithmetic_check(overflow))
    return FileReport(
        model=spec.name,
        labels=spec.labels,
        file=f"{path.absolute().parent.name}/{path.name}",
        format=format,
        precision=spec.precision,
        engine=classifier.engine.name,
        size_bytes=size_bytes,
        latency_us=median_us(classifier.engine, classifier.encode(reference.images[:1])),
        data_sha256=reference.data_sha256,
        answers=base64.b64encode(np.packbits(p > threshold).tobytes()).decode("ascii"),
        parity=measure(p, replace(spec, threshold=threshold), reference, policy, reference_threshold),
        checks=checks,
        overflow=overflow,
    )


def measure(
    p: npt.NDArray[np.float32],
    spec: ModelSpec,
    reference: Reference,
    policy: Policy,
    reference_threshold: float | None = None,
) -> Parity:
    """Compare `p`, what the model of `spec` answered for the reference's pictures, float32 (N,).

    Raises:
        ModelError: the answers are no probabilities.
    """
    try:
        return compare(
            reference.probabilities,
            p,
            reference.labels,
            reference.slices,
            spec.threshold,
            spec.precision,
            policy,
            reference_threshold,
        )
    except ValueError as error:
        raise ModelError(f"{spec.name}, {spec.precision}: {error}.") from error


def arithmetic_check(found: Sequence[Overflow]) -> Check:
    """What a report says of it: such a file passes, with a note."""
    if not found:
        return Check("arithmetic", PASS, "No pair of 8-bit products can overflow 16 bits.")
    return Check(
        "arithmetic",
        PASS,
        f"Pairs of 8-bit products can overflow 16 bits in {', '.join(map(str, found))}.",
        "In a plain onnxruntime session the file is right only on CPUs with VNNI or dot product; oddeven sets "
        "session.x64quantprecision. For every CPU, export without --full-range.",
    )
