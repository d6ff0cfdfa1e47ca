"""The Python API on the bundled models."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oddeven.runtime.artifacts.resolve import DEFAULT_MODEL, bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.images.ready import is_ready
from oddeven.runtime.prediction import UNCERTAIN


@pytest.fixture(scope="module")
def classifier():
    with Classifier.load() as opened:
        yield opened


def test_three_int8_models_are_bundled_and_small():
    assert set(bundled()) == {"mlp", "cnn", "deep_cnn"}
    assert sum(path.stat().st_size for path in bundled().values()) < 1_100_000
    with Classifier.load() as classifier:
        assert (classifier.spec.name, classifier.spec.precision) == (DEFAULT_MODEL, "int8")


@pytest.mark.parametrize(("name", "least"), [("mlp", 0.9935), ("cnn", 0.996), ("deep_cnn", 0.997)])
def test_the_bundled_models_are_as_accurate_as_they_were_shipped(name, least, raw):
    with Classifier.load(name) as classifier:
        answers = classifier.probabilities(raw["x_test"][..., None]) > 0.5
    assert np.mean(answers == raw["y_test"] % 2) >= least


def test_path_bytes_and_pixels_give_the_same_answer(classifier, raw, tmp_path):
    path = tmp_path / "seven.png"
    Image.fromarray(raw["x_test"][0]).save(path)
    answers = [classifier.predict(p) for p in (path, str(path), path.read_bytes(), raw["x_test"][0])]
    assert answers.count(answers[0]) == 4
    assert (answers[0].label, answers[0].probability) == ("odd", pytest.approx(1.0, abs=0.01))
    assert sum(answers[0].scores.values()) == pytest.approx(1.0)
    assert set(answers[0].scores) == {"even", "odd"}


def test_a_prediction_can_be_sent_to_another_process(classifier, raw):
    prediction = classifier.predict(raw["x_test"][0])
    assert pickle.loads(pickle.dumps(prediction)) == prediction


def test_a_batch_comes_in_order_and_lazily(classifier, raw):
    asked = []

    def pictures():
        for number, image in enumerate(raw["x_test"][:5000]):
            asked.append(number)
            yield image

    answers = classifier.predict_batch(pictures())
    first = next(answers)
    assert len(asked) < 2500
    rest = list(answers)
    assert [first.label, *(answer.label for answer in rest)] == [
        classifier.predict(image).label for image in raw["x_test"][:5000]
    ]


def test_arrays_lists_and_files_give_the_same_answers(classifier, raw, tmp_path):
    images = raw["x_test"][:40]
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    expected = [classifier.predict(image) for image in images]
    for pictures in (images, images[..., None], list(images), paths, [*paths[:20], *images[20:]]):
        assert list(classifier.predict_batch(pictures)) == expected


def test_a_bad_picture_raises_or_stands_in_its_place(classifier, raw, tmp_path):
    pictures = [raw["x_test"][0], tmp_path / "absent.png", raw["x_test"][1]]
    good, bad, also_good = classifier.predict_batch(pictures, errors="return")
    assert (good.label, also_good.label) == ("odd", "even")
    assert isinstance(bad, DataError)
    named = classifier.predict_named(zip("abc", pictures, strict=True))
    assert [name for name, outcome in named if isinstance(outcome, DataError)] == ["b"]
    with pytest.raises(DataError, match=r"absent\.png"):
        list(classifier.predict_batch(pictures))


@pytest.mark.parametrize("picture", [np.zeros((28, 28), np.uint8), np.full((90, 60), 200, np.uint8)])
def test_a_blank_picture_is_uncertain(classifier, picture):
    for answer in (classifier.predict(picture), *classifier.predict_batch([picture])):
        assert (answer.label, answer.probability, dict(answer.scores)) == (UNCERTAIN, 0.0, {})
        assert answer.reason


def test_a_doubtful_answer_is_uncertain_where_asked(raw):
    known = {"min_familiarity": 0.0}
    with Classifier.load("mlp", **known) as plain, Classifier.load("mlp", min_confidence=0.99, **known) as careful:
        for sure, unsure in zip(plain.predict_batch(raw["x_test"]), careful.predict_batch(raw["x_test"]), strict=True):
            assert unsure.label == (sure.label if sure.probability >= 0.99 else UNCERTAIN)
            assert bool(unsure.reason) == (unsure.label == UNCERTAIN)
            assert unsure.scores == sure.scores


def test_the_threshold_can_be_set(raw):
    with Classifier.load("mlp", threshold=0.99, min_familiarity=0.0) as strict:
        odd = [answer.scores["odd"] for answer in strict.predict_batch(raw["x_test"][:2000])]
        labels = [answer.label for answer in strict.predict_batch(raw["x_test"][:2000])]
    assert labels == ["odd" if p > 0.99 else "even" for p in odd]
    assert any(0.5 < p <= 0.99 for p in odd)
    with pytest.raises(UsageError, match=r"threshold 1\.5 must lie between 0 and 1"):
        Classifier.load("mlp", threshold=1.5)


def test_threads_may_share_one(classifier, raw):
    images = raw["x_test"][:400]
    expected = [classifier.predict(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(lambda _: [classifier.predict(image) for image in images], range(8)):
            assert answers == expected


def test_the_number_of_threads_may_be_numpys():
    Classifier.load("mlp", threads=np.int64(2)).close()


def test_a_hundred_thousand_answers_leak_nothing(raw):
    def resident_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with Classifier.load("mlp") as classifier:
        for image in raw["x_test"][:1000]:
            classifier.predict(image)
        before = resident_bytes()
        for _ in range(10):
            for image in raw["x_test"]:
                classifier.predict(image)
        # A leak of 20 bytes an answer would show; the allocator's own slack does not.
        assert resident_bytes() - before < 2_000_000


def test_a_closed_one_says_so():
    classifier = Classifier.load("mlp")
    classifier.close()
    with pytest.raises(UsageError, match="is closed"):
        classifier.predict(np.eye(28, dtype=np.uint8) * 255)


def test_one_that_is_closed_while_a_thread_uses_it_stays_closed(raw, monkeypatch):
    classifier = Classifier.load("mlp")
    invoke = classifier.engine.invoke

    def close_meanwhile(batch):
        classifier.close()
        return invoke(batch)

    monkeypatch.setattr(classifier.engine, "invoke", close_meanwhile)
    classifier.predict(raw["x_test"][0])
    with pytest.raises(UsageError, match="is closed"):
        classifier.predict(raw["x_test"][0])


def test_no_pictures_are_no_answers(classifier):
    assert list(classifier.predict_batch([])) == []
    none = np.empty((0, 28, 28, 1), np.uint8)
    assert classifier.probabilities(none).shape == (0,)
    assert classifier.predict_ready(none) == []


def test_ready_pixels_are_predicted_as_images_are(classifier, raw):
    pixels = raw["x_test"][:300, ..., None]
    assert classifier.predict_ready(pixels) == list(classifier.predict_batch(pixels))


def test_pixels_that_are_not_ready_are_refused_and_spoil_nothing(raw):
    pixels = raw["x_test"][:2]
    with Classifier.load("mlp") as classifier:
        for wrong in (pixels, pixels[..., None].astype(float), pixels[:, ::2, ::2, None]):
            for call in (classifier.probabilities, classifier.predict_ready):
                with pytest.raises(DataError, match=r"Expected ready pixels, uint8 \(N, 28, 28, 1\), got "):
                    call(wrong)
        assert (classifier.probabilities(pixels[..., None]) > 0.5).tolist() == [True, False]


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.full((28, 28), np.nan, np.float32), "not finite"),
        (np.full((28, 28), 0.5, np.float32), "multiply them by 255"),
        (np.full((28, 28), 200.0), r"values from 200 to 200; round and convert"),
        (np.full((28, 28), 300, np.int64), r"values from 300 to 300"),
    ],
)
def test_pixels_of_another_kind_are_named(classifier, pixels, says):
    with pytest.raises(DataError, match=says):
        classifier.predict(pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((28, 28), np.float32),
        np.zeros((28, 28), np.int64),
        np.zeros((28, 28, 3), np.uint8),
        np.zeros((1, 28, 28, 1), np.uint8),
        np.zeros(28, np.uint8),
        np.zeros((0, 28), np.uint8),
    ],
)
def test_what_is_not_uint8_pixels_is_refused(classifier, pixels):
    with pytest.raises(DataError, match="Expected uint8 pixels"):
        classifier.predict(pixels)


def test_an_unknown_model_lists_the_bundled_ones():
    with pytest.raises(UsageError, match="bundled are cnn, deep_cnn, mlp"):
        Classifier.load("resnet")


def test_a_bare_file_runs_when_the_caller_says_what_it_is(tmp_path, raw):
    import zipfile

    path = bundled()["mlp"]
    with zipfile.ZipFile(path) as archive:
        end = min(entry.header_offset for entry in archive.infolist())
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ModelError, match=r"carries no ModelSpec.* was cut off: copy it again.* oddeven attach-spec"):
        Classifier.load(bare)
    with Classifier.load("mlp") as whole, Classifier.load(bare, spec=whole.spec) as opened:
        assert opened.predict(raw["x_test"][0]) == whole.predict(raw["x_test"][0])


def test_a_killed_process_leaves_no_others_behind(raw, tmp_path):
    """The processes that decode files end with the one that asked for it."""
    code = (
        "import sys, os, signal\n"
        "from oddeven.runtime import Classifier\n"
        "answers = Classifier.load('mlp').predict_batch([sys.argv[1]] * 1000)\n"
        "next(answers)\n"
        "children = open(f'/proc/self/task/{os.getpid()}/children').read()\n"
        "print(children, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "digit.png"
    Image.fromarray(raw["x_test"][0]).save(path)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    children = done.stdout.split()
    assert children
    for _ in range(100):
        if not any(Path("/proc", child, "cmdline").exists() and Path("/proc", child, "cmdline").read_bytes()
                   for child in children):  # fmt: skip
            return
        time.sleep(0.05)
    pytest.fail(f"processes {children} are still there")


def test_a_picture_from_another_process_is_taken_as_it_is(raw):
    """Its dtype is an object of its own, equal to NumPy's."""
    picture = pickle.loads(pickle.dumps(raw["x_test"][0]))
    assert picture.dtype is not raw["x_test"].dtype
    assert is_ready(picture, 28)
