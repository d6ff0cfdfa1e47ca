"""`oddeven verify` as a CI job runs it: what passes, what fails, what is broken, and how that is said."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import junitparser
import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from oddeven.runtime.files import sha256
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.verify.report import Report

FILE = "cnn.int8.tflite"
ROOT = Path(__file__).parents[2]


def refused(done, code, *says):
    assert done.returncode == code, done.stderr
    for text in says:
        assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def run(run_here):
    return run_here


@pytest.fixture
def copy(exported, tmp_path):
    """The artifact folder with two of its files and 1,500 of its pictures, enough for a verdict."""
    folder = shutil.copytree(exported, tmp_path / "cnn")
    keep(folder, "tflite-int8", "tflite-float32")
    edit_reference(folder, first(1500))
    return folder


def keep(folder, *formats):
    edit(folder, lambda manifest: manifest.update(files=[f for f in manifest["files"] if f["format"] in formats]))


def edit(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit_reference(folder, change):
    path = folder / "reference.npz"
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    change(arrays)
    np.savez_compressed(path, **arrays)
    edit(folder, lambda manifest: manifest.update(reference_sha256=sha256(path.read_bytes())))


def first(count):
    """Keeps only the first `count` pictures of a reference."""

    def change(arrays):
        for key in ("images", "labels", "slices", "probabilities", "familiarities"):
            arrays[key] = arrays[key][:count]

    return change


@pytest.fixture
def degraded(copy):
    """The int8 file is another model's by its weights: its answers are wrong, everything written down is in order."""
    from oddeven.runtime.classifier import Classifier
    from oddeven.runtime.engines.metadata import attach_to_tflite, read_spec
    from oddeven.runtime.verify.golden import load_golden, save_golden

    path = copy / FILE
    spec = read_spec(path)
    with path.open("rb") as file:
        content = bytearray(file.read())
    size = content.find(b"PK\x03\x04")
    weights = np.frombuffer(bytes(content[:size]), np.int8).copy()
    # The largest stretch of bytes without structure is the first dense layer: a tenth of it is turned over.
    start = size // 3
    weights[start : start + size // 10] *= -1
    path.write_bytes(attach_to_tflite(weights.tobytes(), spec))
    golden_path = copy / "cnn.selftest.npz"
    golden = load_golden(golden_path)
    with Classifier.load(path) as classifier:
        golden.answers[FILE], golden.familiarities[FILE] = classifier.scores(golden.images)
    save_golden(golden, golden_path)

    def change(manifest):
        manifest["selftest_sha256"] = sha256(golden_path.read_bytes())
        for record in manifest["files"]:
            if record["file"] == FILE:
                record["sha256"], record["size_bytes"] = sha256(path.read_bytes()), path.stat().st_size

    edit(copy, change)
    return copy


def test_what_export_made_passes_on_every_engine(run, exported, tmp_path):
    done = run("verify", exported.parent, "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    files = json.loads((tmp_path / "all.json").read_text())["files"]
    assert len(files) == 8
    assert {file["engine"] for file in files} == {"litert", "onnxruntime"}
    for file in files:
        assert (file["parity"]["verdict"], file["parity"]["count"]) == ("PASS", 10_000)
        arithmetic = {"arithmetic"} if file["file"].endswith(".onnx") else set()
        assert {check["name"] for check in file["checks"]} == {"hash", "spec", "self-test", "known"} | arithmetic
    only = run("verify", exported.parent, "--engine", "onnxruntime", "--json", "-")
    assert {file["engine"] for file in json.loads(only.stdout)["files"]} == {"onnxruntime"}


def test_a_degraded_model_fails_in_every_form(run, degraded, tmp_path, monkeypatch):
    outputs = [x for form in ("junit", "markdown", "html", "json") for x in (f"--{form}", tmp_path / f"out.{form}")]
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = run("verify", degraded, *outputs)
    refused(done, 1, "FAIL. The drop is at least", "::error title=cnn/cnn.int8.tflite on litert FAIL::")
    suites = junitparser.JUnitXml.fromfile(str(tmp_path / "out.junit"))
    (suite,) = suites
    assert (suite.name, suite.errors) == ("cnn", 0)
    failed = {case.name for case in suite if case.result and case.classname.startswith("cnn/cnn.int8")}
    assert {"accuracy", "agreement", "slices"} <= failed
    passed = {case.name for case in suite if not case.result and case.classname.startswith("cnn/cnn.int8")}
    assert passed == {"hash", "spec", "self-test"}
    assert not [case for case in suite if case.result and "float32" in case.classname]
    texts = [case.result[0].text for case in suite if case.name == "accuracy" and case.result]
    assert all("allowed is 0.10 pp" in text and "Look at the changed images" in text for text in texts)
    for path in (summary, tmp_path / "out.markdown"):
        assert path.read_text().startswith("# Parity report: FAIL")
    assert "Files that do not pass" in (tmp_path / "out.html").read_text()


def test_files_that_are_altered_missing_or_of_another_model_are_broken_and_the_others_checked(run, copy, tmp_path):
    path = copy / FILE
    path.write_bytes(path.read_bytes() + b"x")
    done = run("verify", copy, "--junit", tmp_path / "j.xml")
    refused(done, 4, "cnn.int8.tflite is not the file its manifest lists")
    assert "cnn.float32.tflite" in done.stdout
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "j.xml"))
    assert (suite.errors, suite.failures) == (1, 0)
    path.unlink()
    refused(run("verify", copy), 4, "Cannot read")


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "not valid JSON"), ("{", "not valid JSON"), ('{"files": []}', "missing"), ('{"schema_version": 9}', "newer")],
)
def test_a_broken_manifest_is_named(run, copy, content, says):
    (copy / "manifest.json").write_text(content)
    refused(run("verify", copy), 4, "manifest.json", says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threshold": float("nan")}, "the threshold nan must lie between"),
        ({"low": 1, "high": 0}, "the value range 1.0 to 0.0 is not a range"),
    ],
)
def test_a_manifest_with_impossible_values_is_named(run, copy, change, says):
    edit(copy, lambda manifest: manifest["files"][0].update(change))
    refused(run("verify", copy), 4, "cnn/manifest.json: ", says)


def test_nothing_checked_is_never_well(run, copy, tmp_path):
    edit(copy, lambda manifest: manifest.update(files=[]))
    refused(run("verify", copy), 4, "nothing to verify")
    refused(run("verify"), 2, "Nothing to verify")
    refused(run("verify", tmp_path / "absent"), 4, f"There is no file or folder {tmp_path / 'absent'}.")


def test_what_is_named_twice_is_verified_once(run, copy):
    litert = ("--engine", "litert")
    done = run("verify", copy, copy.parent, copy, *litert, *litert, "--json", "-")
    files = [file["file"] for file in json.loads(done.stdout)["files"]]
    assert sorted(files) == ["cnn/cnn.float32.tflite", "cnn/cnn.int8.tflite"]


def test_engines_that_read_nothing_or_are_missing(run, copy):
    refused(run("verify", copy, "--engine", "onnxruntime"), 2, "None of the engines onnxruntime reads any")
    refused(run("verify", copy, "--engine", "tflite-runtime"), 3, "pip install")
    refused(run("verify", copy, "--engine", "abacus"), 2, "known are litert")


def test_too_few_pictures_are_inconclusive_which_only_ci_refuses(run, copy, monkeypatch):
    edit_reference(copy, first(300))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for options, ci, code in (
        ((), "", 0),
        ((), "true", 1),
        (("--strict",), "", 1),
        (("--allow-inconclusive",), "true", 0),
    ):
        monkeypatch.setenv("CI", ci)
        refused(
            run("verify", copy, *options), code,
            "INCONCLUSIVE. The drop may be as large as 0.99 pp at 95% confidence; allowed is 0.30 pp. ",
            "None of 300 predictions changed for the worse: at 95% confidence at most 0.99% of all would",
            "a file that changes 0.05% of its predictions passes on about 2,400 with 80% probability",
            f"::{'error' if code else 'warning'} title=cnn/cnn.int8.tflite on litert INCONCLUSIVE::",
        )  # fmt: skip


def test_a_file_alone_is_held_to_a_reference(run, copy, exported, tmp_path):
    refused(run("verify", copy / FILE), 2, "--reference")
    done = run("verify", copy / FILE, "--reference", copy / "reference.npz", "--max-bytes", "1000")
    refused(done, 1, "allowed are 1,000")
    assert run("verify", copy / FILE, "--reference", copy / "reference.npz").returncode == 0

    def foreign(arrays):
        arrays["dataset_sha256"] = np.array("0" * 64)

    edit_reference(copy, foreign)
    refused(run("verify", copy / FILE, "--reference", copy / "reference.npz"), 5, "is of another dataset")
    edit_reference(copy, lambda arrays: arrays.pop("dataset_sha256"))
    refused(run("verify", copy / FILE, "--reference", copy / "reference.npz"), 5, "not a readable reference")
    for path in (copy, copy / FILE):
        done = run("verify", path, "--reference", tmp_path / "absent.npz")
        refused(done, 5, "--reference cannot be used: ", "absent.npz")
        assert "manifest.json" not in done.stderr


def test_a_pipe_is_not_waited_for(run, copy):
    (copy / "reference.npz").unlink()
    os.mkfifo(copy / "reference.npz")
    refused(run("verify", copy), 4, "reference.npz: it is a pipe")
    refused(run("verify", copy, "--reference", copy / "reference.npz"), 5, "not a readable reference (it is a pipe)")


def test_the_baseline_tells_what_changed_since(run, copy, degraded, tmp_path):
    """The baseline is made before the model is degraded, and a looser policy would let that through."""
    baseline = tmp_path / "baseline.json"
    (tmp_path / "loose.toml").write_text(
        "[tool.oddeven.parity]\nmax_drop_pp = 100.0\nmax_upper_pp = 100.0\n"
        "min_agreement = 0.0\nmin_known_agreement = 0.0\n"
    )
    loose = ("--policy", tmp_path / "loose.toml")
    done = run("verify", degraded, "--baseline", baseline)
    refused(done, 5, "Cannot read the report")
    done = run("verify", degraded, "--baseline", baseline, "--update-baseline")
    refused(done, 1, "is left as it was")
    assert not baseline.exists()
    done = run("verify", degraded, "--baseline", baseline, "--update-baseline", *loose)
    refused(done, 0, "now holds 2 files")
    assert run("verify", degraded, "--baseline", baseline, *loose).returncode == 0
    report = json.loads(baseline.read_text())
    report["files"] = [file for file in report["files"] if "int8" in file["file"]]
    baseline.write_text(json.dumps(report))
    refused(run("verify", degraded, "--baseline", baseline, *loose), 1, "does not hold cnn/cnn.float32.tflite")


def test_no_report_takes_the_place_of_the_baseline(run, copy, tmp_path):
    baseline = tmp_path / "baseline.json"
    assert run("verify", copy, "--baseline", baseline, "--update-baseline").returncode == 0
    accepted = baseline.read_bytes()
    for more in ((), ("--update-baseline",)):
        done = run(
            "verify", copy, "--baseline", baseline, "--json", tmp_path / "." / "x" / ".." / "baseline.json", *more
        )
        refused(done, 2, "would take the place of the baseline")
    assert baseline.read_bytes() == accepted


def test_new_answers_are_counted_against_the_baseline(run, copy, tmp_path):
    baseline = tmp_path / "baseline.json"
    assert run("verify", copy, "--baseline", baseline, "--update-baseline").returncode == 0
    report = json.loads(baseline.read_text())
    (int8,) = [file for file in report["files"] if "int8" in file["file"]]
    bits = bytearray(base64.b64decode(int8["answers"]))
    bits[0] ^= 0b1010_0000  # pictures 0 and 2 were answered otherwise
    int8["answers"] = base64.b64encode(bytes(bits)).decode()
    baseline.write_text(json.dumps(report))
    differing = "2 predictions are not the baseline's, 0 of them newly wrong"
    refused(run("verify", copy, "--baseline", baseline), 1, differing, "images 0, 2;", "--update-baseline")
    bits[0] ^= 0b1010_0000
    none = base64.b64encode(bytes(len(bits))).decode()
    int8 |= {"answers": base64.b64encode(bytes(bits)).decode(), "known": int8["known"] | {"answers": none}}
    baseline.write_text(json.dumps(report))
    done = run("verify", copy, "--baseline", baseline)  # some images have become unknown, which no label is
    assert re.search(r"[1-9]\d* predictions are not the baseline's, 0 of them newly wrong", done.stderr), done.stderr
    keep(copy, "tflite-float32")
    refused(run("verify", copy, "--baseline", baseline), 4, "It is in the baseline, on litert, and was not checked")
    int8["data_sha256"] = "0" * 64
    baseline.write_text(json.dumps(report | {"files": [{**file, "data_sha256": "0" * 64} for file in report["files"]]}))
    refused(run("verify", copy, "--baseline", baseline), 5, "made from other images")


@pytest.fixture
def pictures(tmp_path, raw):
    """200 test pictures in a subfolder a label."""
    folder = tmp_path / "images"
    for number, (image, digit) in enumerate(zip(raw["x_test"][:200], raw["y_test"], strict=False)):
        path = folder / ("even", "odd")[digit % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def test_copies_of_an_image_are_counted(run, copy, photos):
    for number in range(100, 160):
        shutil.copyfile(photos / "99.png", photos / f"{number}.png")
    done = run("verify", copy, "--data", photos, "--policy", "small", "--allow-inconclusive")
    assert "copies of other images: 60 of 160, so the limits hold for 100 images at best" in done.stderr


def test_a_labelled_folder_is_asked_about(run, copy, pictures):
    done = run("verify", copy, "--data", pictures, "--allow-inconclusive", "--json", "-")
    assert done.returncode == 0, done.stderr
    files = {file["format"]: file["parity"] for file in json.loads(done.stdout)["files"]}
    assert files["tflite-float32"]["count"] == 200
    assert [part["name"] for part in files["tflite-int8"]["slices"]] == ["even", "odd"]
    alone = run("verify", copy / FILE, "--data", pictures, "--reference", copy / "cnn.float32.tflite",
                "--allow-inconclusive")  # fmt: skip
    assert alone.returncode == 0, alone.stderr


def test_a_folder_as_reference_means_its_float32_file(run, copy, pictures):
    done = run("verify", copy, "--data", pictures, "--reference", copy, "--json", "-")
    files = {file["format"]: file["parity"] for file in json.loads(done.stdout)["files"]}
    assert files["tflite-float32"]["max_shift"] == 0.0 < files["tflite-int8"]["max_shift"]
    refused(run("verify", copy / FILE, "--data", pictures, "--reference", pictures), 4, "holds no manifest.json")
    refused(run("verify", copy, "--data", pictures, "--reference", copy / FILE), 2, "is int8; expected the float32")


def test_unusable_labelled_folders_are_named(run, copy, pictures, tmp_path):
    data = ("verify", copy, "--allow-inconclusive", "--data")
    (pictures / "odd" / "broken.png").write_bytes(b"no picture")
    refused(
        run(*data, pictures), 5, "1 images of", "--max-bad allows 0", f"\n  {pictures}/odd/broken.png cannot be read"
    )
    done = run(*data, pictures, "--max-bad", "1")
    refused(done, 0, "left out:", "broken.png")
    shutil.copy(next((pictures / "even").glob("*.png")), pictures / "odd" / "copy.png")
    refused(run(*data, pictures, "--max-bad", "1"), 5, "are the same image under both labels")
    (pictures / "odd").rename(pictures / "uneven")
    refused(run(*data, pictures), 5, "subfolders even, uneven; the model tells even from odd")
    (pictures / "even").rename(pictures / "level")
    refused(
        run(*data, pictures, "--max-bad", "1"), 0, "has no subfolder even or odd, so its images count as unlabelled"
    )
    (pictures / "level").rename(pictures / "even")
    shutil.rmtree(pictures / "uneven")
    refused(run(*data, pictures), 5, "subfolders even; the model tells")
    refused(run(*data, tmp_path / "absent"), 5, "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(run(*data, tmp_path / "empty"), 5, "holds no image")
    (tmp_path / "empty" / "broken.png").write_bytes(b"no picture")
    refused(run(*data, tmp_path / "empty", "--max-bad", "1"), 5, "holds no usable image")


@pytest.fixture
def photos(tmp_path, raw):
    """100 pictures without labels, 30 of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "kitchen").mkdir(parents=True)
    for number, image in enumerate(raw["x_test"][:100]):
        Image.fromarray(image).save(folder / ("kitchen" if number < 30 else ".") / f"{number}.png")
    return folder


def test_unlabelled_pictures_tell_what_needs_no_labels(run, copy, photos, tmp_path):
    outputs = [x for form in ("junit", "markdown", "html", "json") for x in (f"--{form}", tmp_path / f"out.{form}")]
    baseline = ("--baseline", tmp_path / "baseline.json")
    options = ("verify", copy, "--data", photos, "--allow-inconclusive")
    done = run(*options, *outputs, *baseline, "--update-baseline")
    # 1 - 0.05**(1/100) is 2.95%.
    refused(
        done, 0, "its images count as unlabelled", "None of 100 predictions changed: at 95% confidence at most 2.95%"
    )
    assert "None of 100 predictions changed for" not in done.stderr
    files = {file["format"]: file for file in json.loads((tmp_path / "out.json").read_text())["files"]}
    assert files["tflite-int8"]["known"]["changed"] < 5  # which the float32 file, the reference, tells too
    parity = files["tflite-int8"]["parity"]
    assert (parity["count"], parity["agreement"], parity["verdict"]) == (100, 1.0, "INCONCLUSIVE")
    assert [(part["name"], part["count"]) for part in parity["slices"]] == [("kitchen", 30), ("unsorted", 70)]
    assert parity["max_shift"] > 0
    for absent in ("reference", "file", "drop_pp", "drop_high_pp", "mcnemar_p", "right_to_wrong"):
        assert parity[absent] is None
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "out.junit"))
    assert not {case.name for case in suite} & {"accuracy", "slices", "reference"}
    assert "Size and agreement" in (tmp_path / "out.html").read_text()
    for form in ("markdown", "html", "json"):
        assert "nan" not in (tmp_path / f"out.{form}").read_text().lower().split()
    assert run(*options, *baseline).returncode == 0
    shutil.copy(tmp_path / "out.json", tmp_path / "pi.json")
    done = run("verify", "--merge", tmp_path / "out.json", tmp_path / "pi.json")
    assert "100 images" in done.stdout
    small = run("verify", copy, "--data", photos, "--policy", "small", "--strict")
    refused(small, 0)
    assert [line.split()[-2:] for line in small.stdout.splitlines()[2:]] == [["2.95%", "PASS"]] * 2


def test_a_reference_without_labels_is_written_and_read(run, copy):
    edit_reference(copy, lambda arrays: arrays.pop("labels"))
    done = run("verify", copy, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert {file["parity"]["drop_pp"] for file in json.loads(done.stdout)["files"]} == {None}
    shutil.copy(copy / "reference.npz", copy / "validation.npz")
    edit(copy, lambda manifest: manifest.update(validation_sha256=manifest["reference_sha256"]))
    done = run("verify", copy, "--threshold-from", "float", "--max-fpr", "0.1")
    refused(done, 5, "These images have no labels")


def test_outputs_are_found_unwritable_before_the_work(run, copy, tmp_path):
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken" / "out.xml", tmp_path):
        done = run("verify", copy, "--junit", path)
        refused(done, 6, "Cannot write")
        assert "cnn" not in done.stdout


def test_a_page_has_the_name_of_one_by_whichever_option(run, copy):
    for option in ("--html", "--report"):
        refused(run("verify", copy, option, copy / FILE), 2, "its name must end in ")
    assert "<html" in run("verify", copy, "--html", "-").stdout


def test_a_summary_that_cannot_be_written_costs_no_report(run, copy, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "absent" / "summary.md"))
    refused(run("verify", copy, "--json", tmp_path / "out.json"), 6, "Cannot write the step's summary")
    assert (tmp_path / "out.json").is_file()


def test_contradictory_options(run, copy):
    refused(run("verify", copy, "--update-baseline"), 2, "--baseline FILE")
    refused(run("verify", copy, "--reference", copy / FILE), 2, "needs --data")
    refused(run("verify", copy, "--data", copy, "--reference", copy / "reference.npz"), 2, "brings its own images")
    refused(run("verify", "--merge", copy / "x.json", "--junit", copy / "j.xml"), 2, "--merge writes")


def test_two_folders_with_models_of_one_name_are_kept_apart(run, exported, tmp_path):
    parts = {"a": slice(0, 700), "b": slice(700, 1500)}
    for name, part in parts.items():
        folder = shutil.copytree(exported, tmp_path / name / "cnn")
        keep(folder, "tflite-int8", "tflite-float32")

        def cut(arrays, part=part):
            for key in ("images", "labels", "slices", "probabilities", "familiarities"):
                arrays[key] = arrays[key][part]
            arrays["probabilities"][7] = 1 - arrays["probabilities"][7]  # so that the files' answer is another

        edit_reference(folder, cut)
    kinds = ("json", "html", "markdown", "junit")
    written = [str(part) for kind in kinds for part in (f"--{kind}", tmp_path / f"r.{kind}")]
    done = run("verify", tmp_path / "a", tmp_path / "b", *written)
    assert done.returncode in (0, 1), done.stderr
    files = json.loads((tmp_path / "r.json").read_text())["files"]
    assert {file["file"] for file in files} == {f"{n}/cnn/cnn.{p}.tflite" for n in parts for p in ("int8", "float32")}
    for kind in kinds[1:]:
        text = (tmp_path / f"r.{kind}").read_text()
        assert "cnn in a/cnn" in text, kind
        assert "cnn in b/cnn" in text, kind
    shown = re.findall(r"base64,([^\"]+)\"[^>]* alt=\"Test image 7,", (tmp_path / "r.html").read_text())
    with np.load(exported / "reference.npz") as reference:
        expected = [reference["images"][part][7, ..., 0] for part in parts.values()]
    assert len(shown) == len(expected)
    for image, pixels in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))), pixels)
    again = run("verify", tmp_path / "a", tmp_path / "b", "--baseline", tmp_path / "r.json")
    assert "was made from other images" not in again.stderr
    assert "not the baseline's" not in again.stderr
    merged = run("verify", "--merge", tmp_path / "r.json")
    assert "## cnn in a/cnn, 700 images" in merged.stdout, merged.stderr
    assert "## cnn in b/cnn, 800 images" in merged.stdout


def test_reports_are_merged_into_a_matrix(run, copy, tmp_path):
    assert run("verify", copy, "--json", tmp_path / "desktop.json").returncode == 0
    report = json.loads((tmp_path / "desktop.json").read_text())
    bits = bytearray(base64.b64decode(report["files"][0]["answers"]))
    bits[5] ^= 0b111
    report["files"][0]["answers"] = base64.b64encode(bytes(bits)).decode()
    (tmp_path / "pi.json").write_text(json.dumps(report))
    paths = (tmp_path / "desktop.json", tmp_path / "pi.json")
    done = run("verify", "--merge", *paths, "--html", tmp_path / "m.html", "--markdown", tmp_path / "m.md")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 1: desktop")]
    (row,) = rows
    between = report["files"]
    name = between[0]["format"]
    assert name in row
    assert row.split("|")[4].strip() == "3"  # its own run on the other machine, the third of four
    assert (tmp_path / "m.md").read_text() == done.stdout
    assert done.stdout.splitlines()[7].endswith("| -: | -: | -: | -: |")  # of one-digit numbers
    assert "color-mix" in (tmp_path / "m.html").read_text()
    assert all("Unknown is a prediction too" in text for text in (done.stdout, (tmp_path / "m.html").read_text()))
    report["files"][0]["data_sha256"] = "0" * 64
    (tmp_path / "pi.json").write_text(json.dumps(report))
    refused(run("verify", "--merge", *paths), 5, "on different images")
    same = tmp_path / "pi" / "desktop.json"
    same.parent.mkdir()
    shutil.copy(paths[0], same)
    both = run("verify", "--merge", paths[0], same).stdout
    assert run("verify", "--merge", paths[0], same, "--markdown", "-").stdout == both
    assert not Path("-").exists()
    assert f"1: {paths[0]}, litert" in both
    assert f"3: {same}, litert" in both
    shutil.copy(same, tmp_path / "a|<b>.json")
    assert r"1: a\|\<b>, litert" in run("verify", "--merge", tmp_path / "a|<b>.json").stdout


def test_a_report_whose_answers_are_damaged_is_refused(run, copy, tmp_path):
    assert run("verify", copy, "--json", tmp_path / "good.json").returncode == 0
    for harm in ({"answers": ""}, {"answers": "%%%"}, {"count": 2**70}, {"count": -1}):
        report = json.loads((tmp_path / "good.json").read_text())
        file = report["files"][0]
        (file if "answers" in harm else file["parity"]).update(harm)
        (tmp_path / "bad.json").write_text(json.dumps(report))
        refused(run("verify", copy, "--baseline", tmp_path / "bad.json"), 5, "does not hold the")
        refused(run("verify", "--merge", tmp_path / "bad.json"), 5, "does not hold the")
    (tmp_path / "bad.json").write_text("{")
    refused(run("verify", copy, "--baseline", tmp_path / "bad.json"), 5, "not valid JSON", "--json FILE")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels", lambda a: a + 2),
        ("labels", lambda a: np.uint8(1)),
        ("images", lambda a: a.astype(np.uint64)),
        ("probabilities", lambda a: a.astype(np.float64)),
        ("probabilities", lambda a: np.full_like(a, np.nan)),
        ("probabilities", lambda a: a[:, None]),
    ],
)
def test_a_reference_with_impossible_arrays_is_refused(run, copy, name, change):
    edit_reference(copy, lambda arrays: arrays.update({name: change(arrays[name])}))
    refused(run("verify", copy), 4, "reference.npz: ", "export the model again")


def test_a_page_can_be_made_where_every_file_is_broken(run, copy, tmp_path):
    for path in copy.glob("*.tflite"):
        path.write_bytes(b"")
    refused(run("verify", copy, "--html", tmp_path / "report.html"), 4, "is not the file its manifest lists")
    assert "could not be checked" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", ["../cnn/cnn.int8.tflite", "/etc/passwd", "", "..", "a/b.tflite"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(run, copy, name):
    edit(copy, lambda manifest: manifest["files"][0].update(file=name))
    for command in ("verify", "bench", "bundle", "predict --model"):
        refused(run(*command.split(), copy, *(["x.png"] if "predict" in command else [])), 4, "leads out of the folder")


def test_the_plan_is_what_the_interval_says(run):
    done = run("verify", "--plan", "--max-drop", "0.1")
    assert done.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    # Without any change the upper limit is 1 - 0.05**(1/n), so n = log(0.05) / log(0.998) = 1,497, to two digits.
    assert rows["0.00%"] == ["1,500"] * 4
    # At n = 2,400 one loss is allowed (its upper limit is 0.1976%), and with a mean of 0.6 comes with 88%; unlabelled
    # changes have a mean of twice that, so it takes two, whose limit of 6.296 / n is met from 3,147 on, with 79%, and
    # three, 7.754 / n, from 3,876 on, with 87%.
    assert rows["0.05%"][::2] == ["2,400", "3,900"]
    assert rows["0.20%"][2:] == ["-", "-"]
    small = run("verify", "--plan", "--policy", "small")
    # log(0.05) / log(0.95) is 58.4.
    assert re.search(r"^ *0\.00% +59 +59 +59 +59$", small.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "ignored"),
    [("--plan artifacts --data x --json - --strict", "ARTIFACTS|MODEL..., --data, --json, --strict"),
     ("--plan --merge", "--merge"), ("--plan --update-baseline", "--update-baseline"),
     ("--merge a b --engine c --data x --baseline none --strict --max-drop 1",
      "--engine, --data, --max-drop, --baseline, --strict")],
)  # fmt: skip
def test_a_mode_ignores_nothing(run, options, ignored):
    done = run("verify", *options.split())
    refused(done, 2, "checks no file and would ignore")
    given = done.stderr.split("ignore ")[1].split(";")[0]
    assert sorted(given.split(", ")) == sorted(ignored.split(", "))


def test_unusable_images_are_allowed_only_in_data(run):
    refused(run("verify", "artifacts", "--max-bad", 3), 2, "--max-bad is about the images of --data")


def test_a_report_survives_its_file():
    report = Report(Policy(), "a machine", {"litert": "2"}, 1.0, 2.0, ())
    assert from_json(Report, to_json(report), "report") == report


def test_a_threshold_is_chosen_by_cost_and_fitted_anew(run, copy):
    from oddeven.runtime.parity.thresholds import by_cost

    with np.load(copy / "validation.npz") as validation:
        expected = by_cost(validation["probabilities"], validation["labels"], 10, 1)
    done = run("verify", copy, "--threshold-from", "float", "--cost", "fp=10,fn=1", "--allow-inconclusive")
    assert done.returncode == 0, done.stderr
    said = re.findall(r"The threshold is ([0-9.]+) for the reference and, fitted anew, ([0-9.]+)", done.stderr)
    assert len(said) == 2
    for reference, own in said:
        assert float(reference) == pytest.approx(expected, abs=1e-4)
        # Between two neighbouring pictures' scores, which quantization moves by hundredths.
        assert abs(float(own) - expected) < 0.1
    assert expected > 0.6  # a false positive costs ten times as much, so it takes more to say odd
    for options, says in (
        (("--cost", "fp=10,fn=1"), "--threshold-from float goes with"),
        (("--threshold-from", "float"), "--threshold-from float goes with"),
        (("--threshold-from", "float", "--cost", "10:1"), "is not a cost"),
        (("--threshold-from", "float", "--max-fpr", "nan"), "nan is not a number up to 1."),
        (("--threshold-from", "float", "--cost", "fp=1,fn=1", "--max-fpr", "0.1"), "give one of them"),
    ):
        refused(run("verify", copy, *options), 2, says)


def test_the_commands_of_the_page_do_what_it_says(copy, pictures, photos):
    folder = copy.parent
    shutil.copytree(photos, folder / "unlabelled")
    (folder / "artifacts").mkdir()
    copy.rename(folder / "artifacts" / "cnn")
    page = (ROOT / "docs" / "ci.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    commands = [line for line in lines if not line.startswith("pip ")]
    assert len(commands) >= 9
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    for command in commands:
        words = [sys.executable, "-m", "oddeven.runtime", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        if "desktop.json" in command:
            shutil.copy(folder / "desktop.json", folder / "pi.json")
    assert "1,500 images" in (folder / "matrix.html").read_text()


@pytest.mark.parametrize(
    ("schema", "path"), [("github-actions", "action.yml"), ("github-workflows", ".github/workflows/ci.yml")]
)
def test_what_github_reads_fits_its_schema(schema, path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", ROOT / path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_snippets_of_the_page_fit_their_schemas(tmp_path):
    page = (ROOT / "docs" / "ci.md").read_text()
    github, gitlab = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    for schema, text in (("github-workflows", "on: push\n" + github), ("gitlab-ci", gitlab)):
        path = tmp_path / f"{schema}.yml"
        path.write_text(text)
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("chromium"), reason="no headless browser: apt-get install chromium")
def test_a_browser_shows_the_page(run, copy, tmp_path):
    assert run("verify", copy, "--html", tmp_path / "report.html").returncode == 0
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"file://{tmp_path}/report.html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "<h1>Parity report <span" in done.stdout
    assert done.stdout.count("<tr>") > 10


def action_step(number, cwd, **environment):
    """Run a step of the action as GitHub's runner does: bash, and its inputs as environment variables."""
    steps = YAML(typ="safe").load((ROOT / "action.yml").read_text())["runs"]["steps"]
    path = f"{cwd / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    names = dict.fromkeys(steps[number]["env"], "") | environment
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[number]["run"]]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **names, "PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("engines", "new", "said"),
    [
        ("", True, "install --quiet /action[onnx,report]"),
        ("litert onnxruntime", True, "install --quiet /action[onnx,report]"),
        ("litert tflite-runtime", False, "install --quiet /action[onnx,report,tflite]"),
        ("litert\ntflite-runtime", True, "::error::There is no tflite-runtime for Python 3.12"),
    ],
)
def test_the_action_installs_the_engines_asked_for_or_says_why_not(tmp_path, engines, new, said):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] && echo "$@"\n[ "$1" = -m ] || exit {int(new)}\n')
    python.chmod(0o755)
    done = action_step(0, tmp_path, ACTION="/action", ENGINES=engines)
    assert said in done.stdout
    assert done.returncode == (3 if said.startswith("::error") else 0), done.stderr


def test_the_action_verifies_what_each_line_names(copy):
    shutil.copytree(copy, copy.parent / "more" / copy.name)
    done = action_step(1, copy.parent, ARTIFACTS="cnn\nmore/cnn\n", ALLOW_INCONCLUSIVE="true", REPORT="report")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((copy.parent / "report" / "parity.json").read_text())["files"]) == 4


def test_the_action_verifies(copy):
    done = action_step(1, copy.parent, ARTIFACTS="cnn", ENGINES="litert", ALLOW_INCONCLUSIVE="true", REPORT="report")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (copy.parent / "report").iterdir()} == {"junit.xml", "report.html", "parity.json"}
