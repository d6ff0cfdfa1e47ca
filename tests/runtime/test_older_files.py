"""Files that version 0.1.0 wrote before the runtime had rooms still load; tests/data/before_rooms holds some."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conftest import ROOT

from oddeven.runtime.artifacts.manifest import check_hash, load_manifest
from oddeven.runtime.artifacts.reference import REFERENCE, load_reference
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.schema import from_json
from oddeven.runtime.verify.golden import check_golden
from oddeven.runtime.verify.report import Report

OLD = ROOT / "tests" / "data" / "before_rooms"


@pytest.fixture
def artifacts(tmp_path):
    """The artifact folder of then."""
    return shutil.copytree(OLD, tmp_path / "cnn")


def test_an_older_artifact_folder_opens_and_passes_its_self_test(artifacts):
    record = next(file for file in load_manifest(artifacts).files if file.file == "cnn.int8.tflite")
    check_hash(artifacts / record.file, record.sha256)
    assert check_golden(artifacts / record.file, "auto").passed
    with Classifier.load(artifacts / record.file) as classifier:
        reference = load_reference(artifacts / REFERENCE)
        # An int8 output has steps of 1/256; the largest shift of this file over all test images is in its manifest.
        shift = np.abs(classifier.probabilities(reference.images) - reference.probabilities).max()
        assert 0 < shift <= record.parity.max_shift + 1e-6


def test_an_older_report_is_read_as_a_baseline():
    report = from_json(Report, (OLD / "parity.json").read_bytes(), "parity.json")
    assert {file.verdict for file in report.files} == {"PASS"}
    assert all(file.parity.count == 10_000 for file in report.files)
