"""The gate: every check of every file, in the order of what could be wrong with it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oddeven.runtime.arrays import Probabilities
from oddeven.runtime.artifacts.manifest import check_hash, check_same_model
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_features, cpu_name, peak_memory_mb
from oddeven.runtime.device.latency import median_us
from oddeven.runtime.engines import saturation
from oddeven.runtime.engines.registry import engine_version
from oddeven.runtime.engines.saturation import Overflow
from oddeven.runtime.errors import ModelError
from oddeven.runtime.parity.check import PASS, Check, verdict_on
from oddeven.runtime.parity.compare import Parity, compare
from oddeven.runtime.parity.known import compare_known, known_check
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.thresholds import ThresholdRule
from oddeven.runtime.spec import ModelSpec, model_name
from oddeven.runtime.verify.baseline import check_baseline, missing_files
from oddeven.runtime.verify.golden import check_golden, golden_path
from oddeven.runtime.verify.report import Broken, FileReport, Report
from oddeven.runtime.verify.targets import Target


def evaluate_all(
    targets: Sequence[Target | Broken],
    policy: Policy,
    rule: ThresholdRule | None,
    baseline: Report | None,
    begins: Callable[[str], None],
) -> Report:
    """The report on `targets`.

    Args:
        rule: chooses the thresholds of each target that has validation images.
        baseline: the report to compare with, if any.
        begins: told each target as it begins.

    Raises:
        DataError: `baseline` is of other images.
    """
    start = time.perf_counter()
    results: list[FileReport | Broken] = []
    for target in targets:
        if isinstance(target, Broken):
            begins(target.file)
            results.append(target)
        else:
            begins(f"{target.path} on {target.engine}")
            results.append(evaluate(target, policy, rule, baseline))
    files = tuple(result for result in results if isinstance(result, FileReport))
    broken = [result for result in results if isinstance(result, Broken)]
    if baseline:
        broken += missing_files(files, baseline)
    return Report(
        policy=policy,
        machine=cpu_name(),
        versions={name: engine_version(name) for name in dict.fromkeys(file.engine for file in files)},
        seconds=time.perf_counter() - start,
        peak_memory_mb=peak_memory_mb(),
        files=files,
        broken=tuple(broken),
        cpu_features=cpu_features(),
    )


def evaluate(
    target: Target, policy: Policy, rule: ThresholdRule | None, baseline: Report | None
) -> FileReport | Broken:
    """Every check of one file; arguments and errors as of `evaluate_all`."""
    path = target.path
    model = target.listed[0].spec.name if target.listed else model_name(path)
    try:
        checks = list(_integrity(target))
        with Classifier.load(path, target.engine) as classifier:
            spec = classifier.spec
            kind, thresholds = f"{path.suffix[1:]}-{spec.precision}", (spec.threshold, spec.threshold)
            recorded: tuple[Overflow, ...] = ()
            if target.listed:
                manifest, record = target.listed
                check_same_model(path, spec, record.own_spec(manifest.spec))
                checks.append(Check("spec", PASS, "The file carries the manifest's spec."))
                kind, thresholds, recorded = record.format, (manifest.spec.threshold, spec.threshold), record.overflow
            if rule and target.validation:
                thresholds = _choose_thresholds(classifier, target.validation, rule)
                checks.append(_operating_point(*thresholds))
            report = examine(classifier, path, kind, target.reference, policy, tuple(checks), thresholds, recorded)
    except ModelError as error:
        return Broken(model, target.shown, str(error))
    report = replace(report, file=target.shown)
    if baseline is None:
        return report
    return replace(report, checks=(*report.checks, check_baseline(report, target.reference.labels, baseline)))


def examine(
    classifier: Classifier,
    path: Path,
    format: str,
    reference: Reference,
    policy: Policy,
    checks: tuple[Check, ...],
    thresholds: tuple[float, float],
    recorded: tuple[Overflow, ...],
) -> FileReport:
    """The report on an open model file: parity, size, arithmetic and latency.

    Args:
        checks: made before, to be reported too.
        thresholds: of the reference and of the file.
        recorded: the manifest's record of what can overflow; how often it did on calibration is taken from it.

    Raises:
        ModelError: the model does not take the reference's images, or a prediction is not a probability.
    """
    spec, size_bytes = classifier.spec, path.stat().st_size
    reference_threshold, threshold = thresholds
    if spec.input.shape != reference.images.shape[1:]:
        raise ModelError(f"{path} takes {spec.input.shape} images; the reference's are {reference.images.shape[1:]}.")
    p, familiarities = classifier.scores(reference.images)
    if policy.max_bytes:
        reason = f"The file has {size_bytes:,} bytes; allowed are {policy.max_bytes:,}."
        advice = "Ship a smaller format, or raise max_bytes."
        checks = (*checks, verdict_on("size", size_bytes <= policy.max_bytes, reason, advice))
    overflow: tuple[Overflow, ...] = ()
    if path.suffix == ".onnx":
        measured = {replace(found, seen=None): found for found in recorded}
        overflow = tuple(measured.get(found, found) for found in saturation.overflows(path))
        checks = (*checks, arithmetic_check(overflow))
    known = None
    if familiarities is not None and reference.familiarities is not None:
        known = compare_known(reference.familiarities, familiarities, spec.min_familiarity, policy.confidence)
        checks = (*checks, known_check(known, len(p), policy.min_known_agreement))
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
        known=known,
    )


def measure(
    p: Probabilities,
    spec: ModelSpec,
    reference: Reference,
    policy: Policy,
    reference_threshold: float | None = None,
) -> Parity:
    """The parity of `p`, float32 (N,), which the model of `spec` predicts for the reference's images.

    Raises:
        ModelError: a value is not a probability.
    """
    expected, labels, slices = reference.probabilities, reference.labels, reference.slices
    try:
        return compare(expected, p, labels, slices, spec.threshold, spec.precision, policy, reference_threshold)
    except ValueError as error:
        raise ModelError(f"{spec.name}, {spec.precision}: {error}.") from error


def arithmetic_check(found: Sequence[Overflow]) -> Check:
    """The check on `found`, the layers that can overflow; it passes in any case, with a note where there are some."""
    if not found:
        return Check("arithmetic", PASS, "No pair of 8-bit products can overflow 16 bits.")
    return Check(
        "arithmetic",
        PASS,
        f"Pairs of 8-bit products can overflow 16 bits in {', '.join(map(str, found))}.",
        "In a plain onnxruntime session the file is right only on CPUs with VNNI or dot product; oddeven sets "
        "session.x64quantprecision. For every CPU, export without --full-range.",
    )


def _integrity(target: Target) -> Iterator[Check]:
    """The checks of what was recorded when the file was made: its hash and its golden predictions."""
    golden = golden_path(target.path)
    if target.listed:
        manifest, record = target.listed
        check_hash(target.path, record.sha256)
        check_hash(golden, manifest.selftest_sha256)
        yield Check("hash", PASS, "The file is the one that its manifest lists.")
    if golden.is_file():
        outcome = check_golden(target.path, target.engine)
        if outcome.reason:
            raise ModelError(outcome.reason)
        reason = f"The golden predictions are met to within {outcome.largest:.2g}; allowed is {outcome.allowed:.2g}."
        advice = "This engine or CPU computes differently from the one that exported: try another engine or version."
        yield verdict_on("self-test", outcome.passed, reason, advice)


def _choose_thresholds(classifier: Classifier, validation: Reference, rule: ThresholdRule) -> tuple[float, float]:
    """The thresholds of the reference and of this file, each chosen on its own validation probabilities."""
    own = classifier.probabilities(validation.images)
    return rule(validation.probabilities, validation.truth), rule(own, validation.truth)


def _operating_point(reference: float, own: float) -> Check:
    reason = f"The threshold is {reference:.4f} for the reference and, fitted anew, {own:.4f} for this file"
    return Check("operating point", PASS, f"{reason}: a shift of {own - reference:+.4f}.")
