"""What people and folders hand over: a prediction or one sentence for each, and never an end for the others."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from train.photographs import write

from oddeven.runtime import Classifier
from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.engines import litert
from oddeven.runtime.engines.metadata import attach_to_tflite, read_spec
from oddeven.runtime.errors import DataError, UsageError
from oddeven.runtime.images.sources import FORMATS, SUFFIXES
from oddeven.train.data.listing import read_listing as training_set


class Tensor:
    """What other libraries' tensors have in common."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        if isinstance(self._values, Exception):
            raise self._values
        return self._values


@pytest.fixture(scope="module")
def classifier():
    with Classifier.load("mlp") as opened:
        yield opened


@pytest.fixture
def photo(tmp_path, raw):
    """The first test digit as a photograph: dark on light, large, turned, half transparent, in colour."""
    ink = Image.fromarray(raw["x_test"][0]).resize((112, 112))
    image = Image.new("RGBA", (160, 200), (250, 250, 240, 0))
    image.paste((10, 20, 30, 255), (20, 50), ink)
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "photo.png"
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    return path


def test_a_pil_image_is_treated_as_its_file(classifier, photo):
    expected = classifier.predict(photo)
    assert expected.label == "odd"
    with Image.open(photo) as image:
        assert classifier.predict(image) == expected
        assert list(classifier.predict_batch([image] * 3)) == [expected] * 3
        assert (image.mode, image.getexif()[274]) == ("RGBA", 6)


def test_pil_images_and_tensors_reach_other_processes(classifier, photo, raw):
    ready = raw["x_test"][0]
    mixed = [
        Image.open(photo),
        Tensor(ready),
        photo,
        str(photo),
        photo.read_bytes(),
        ready,
        Image.fromarray(ready),
    ] * 40
    assert {answer.label for answer in classifier.predict_batch(mixed)} == {"odd"}
    assert classifier.predict(Tensor(ready)) == classifier.predict(ready)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "HSV", "YCbCr", "I;16"])
def test_every_mode_of_pil_is_taken(classifier, raw, mode):
    image = Image.fromarray(raw["x_test"][0])
    image = Image.fromarray(raw["x_test"][0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    if mode == "I":
        image = image.point(lambda value: value * 257)
    assert classifier.predict(image).label == "odd"


@pytest.mark.parametrize(
    "stranger",
    [None, 7, 1.5, [[0, 255]], object(), {"a": 1}, threading.Lock(), bytearray(b"x"), Tensor(np.zeros((28, 28))),
     Tensor(ValueError("on a GPU")), Image.new("L", (0, 5)), np.ndarray],
)  # fmt: skip
def test_anything_else_is_one_sentence(classifier, stranger, raw):
    with pytest.raises(DataError):
        classifier.predict(stranger)
    first, second, third = classifier.predict_batch([raw["x_test"][0], stranger, raw["x_test"][0]], errors="return")
    assert (first, isinstance(second, DataError), third) == (first, True, first)
    *_, last = classifier.predict_batch([Image.fromarray(raw["x_test"][0])] * 70 + [stranger], errors="return")
    assert isinstance(last, DataError)


def test_a_closed_pil_image_is_one_sentence(classifier, photo):
    image = Image.open(photo)
    image.close()
    with pytest.raises(DataError, match="the given PngImageFile cannot be read"):
        classifier.predict(image)


@pytest.mark.parametrize(
    "option",
    [{"invert": "sideways"}, {"preprocess": "nonsense"}, {"min_confidence": 7}, {"min_confidence": -0.1},
     {"min_confidence": float("nan")}, {"threads": 0}, {"threads": 1025}, {"threads": 2.5},
     {"threads": "a"}, {"min_confidence": "a"}, {"min_familiarity": "a"}, {"threshold": float("nan")},
     {"threshold": "a"}],
)  # fmt: skip
def test_options_are_refused_when_the_model_is_loaded(option):
    with pytest.raises(UsageError, match=str(next(iter(option.values())))):
        Classifier.load("mlp", **option)


def test_of_a_model_without_languages_none_is_known():
    with pytest.raises(UsageError, match="'ko'; known are none"):
        Classifier.load("mlp", locale="ko")


def test_a_given_spec_of_other_pictures_is_refused_when_the_model_is_loaded(tmp_path):
    content, spec = bundled()["mlp"].read_bytes(), read_spec(bundled()["mlp"])
    (tmp_path / "bare.tflite").write_bytes(content[: content.index(b"PK\3\4")])
    other = dataclasses.replace(spec, input=dataclasses.replace(spec.input, height=32))
    with pytest.raises(UsageError, match=r"takes \(28, 28, 1\) images, the given spec's are \(32, 28, 1\)"):
        Classifier.load(tmp_path / "bare.tflite", spec=other)


def test_what_is_not_many_pictures_is_refused_at_once(classifier, photo):
    with pytest.raises(UsageError, match="known are raise, return"):
        classifier.predict_batch([photo], errors="ignore")
    for one in (str(photo), photo, photo.read_bytes(), Image.new("L", (3, 3)), 7):
        with pytest.raises(UsageError, match="takes many images"):
            classifier.predict_batch(one)


def test_both_ends_of_an_8_bit_output_say_the_same(raw):
    """The least and the highest level, 0 and 255/256, are equally sure, so a minimum asks the same of both labels."""
    with Classifier.load("mlp", min_familiarity=0) as classifier:
        p = classifier.probabilities(raw["x_test"][..., None])
        answers = list(classifier.predict_batch(raw["x_test"]))
        assert (p.min(), p.max()) == (0, 255 / 256)
        assert {a.probability for a, q in zip(answers, p, strict=True) if q in (0, 255 / 256)} == {255 / 256}
        inner = [(a.scores["odd"], float(q)) for a, q in zip(answers, p, strict=True) if 0 < q < 255 / 256]
        assert all(said == q for said, q in inner)
        assert [a.label for a in answers] == [("even", "odd")[int(q > 0.5)] for q in p]
    for asked, met in ((255 / 256, {"even", "odd", "uncertain"}), (0.997, {"uncertain"})):
        with Classifier.load("mlp", min_confidence=asked, min_familiarity=0) as careful:
            assert {answer.label for answer in careful.predict_batch(raw["x_test"][:2000])} == met
            assert "0.9961 is the most" in next(careful.predict_batch(raw["x_test"][:1])).reason or asked < 0.997


def test_a_second_engine_is_of_the_same_bytes_and_threads(tmp_path, raw, monkeypatch):
    path = tmp_path / "m.tflite"
    path.write_bytes(bundled()["mlp"].read_bytes())
    opened, both = [], threading.Barrier(2, timeout=60)
    original = litert.open_model

    def open_model(model, threads):
        opened.append((model.content, threads))
        engine = original(model, threads)
        invoke = engine.invoke
        engine.invoke = lambda batch: (both.wait(), invoke(batch))[1]  # which needs two engines to go on
        return engine

    monkeypatch.setattr(litert, "open_model", open_model)
    with Classifier.load(path, engine="litert", threads=2) as classifier:
        path.unlink()
        with ThreadPoolExecutor(2) as pool:
            assert [answer.label for answer in pool.map(classifier.predict, raw["x_test"][:2])] == ["odd", "even"]
    (first, threads), (second, again) = opened
    assert first is second
    assert (threads, again) == (2, 2)


def test_the_suffixes_are_those_that_are_decoded():
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert set(SUFFIXES) == known


@pytest.fixture
def hidden(tmp_path, raw):
    """A labelled folder with what macOS and file managers leave in it."""
    for number in range(60):
        folder = tmp_path / "set" / ("odd" if raw["y_test"][number] % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(raw["x_test"][number]).save(folder / f"{number}.png")
        (folder / f"._{number}.png").write_bytes(b"\0\5\26\7")
        (folder / ".thumbnails").mkdir(exist_ok=True)
        Image.fromarray(raw["x_test"][number]).save(folder / ".thumbnails" / "t.jpg")
    (tmp_path / "set" / ".Trash").mkdir()
    Image.fromarray(raw["x_test"][0]).save(tmp_path / "set" / ".Trash" / "x.png")
    return tmp_path / "set"


def test_hidden_files_are_left_out_by_all(run, hidden, exported):
    done = run("predict", hidden, "--json", "--model", "mlp")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 60), done.stderr
    assert len(training_set(hidden).records) == 60
    done = run("verify", exported / "cnn.int8.tflite", "--data", hidden, "--reference", exported / "cnn.float32.tflite")
    assert "cannot be used" not in done.stderr
    done = run("watch", hidden / "odd", "--once", "--out", hidden / "out.jsonl")
    assert (done.returncode, "._" in (hidden / "out.jsonl").read_text()) == (0, False)


def test_a_hidden_file_that_is_named_is_taken(run, hidden):
    done = run("predict", hidden / "._0.png", hidden / ".Trash", "--json")
    assert [line for line in done.stdout.splitlines() if ".Trash" in line]
    assert "._0.png" in done.stderr


@pytest.fixture
def strange(tmp_path, raw):
    """A folder with everything that one can find in a folder; good.png is the only plain image."""
    folder = tmp_path / "strange"
    (folder / "folder.png").mkdir(parents=True)
    image = Image.fromarray(raw["x_test"][0])
    image.save(folder / "good.png")
    image.save(folder / "folder.png" / "line\nfeed \x1b[31m.png")
    image.save(os.fsencode(folder) + b"/\xff\xfe.png")
    Image.new("L", (2, 1)).save(folder / "narrow.png")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    image.convert("CMYK").save(folder / "cmyk.jpg")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "nowhere.png").symlink_to("gone")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    Image.new("1", (20_000, 15_000)).save(folder / "huge.png")
    return folder


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_strange_folder_is_answered_as_far_as_it_can_be(run, strange, form):
    done = run("predict", strange, "--model", "mlp", *form)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert done.stdout.count("odd") - done.stdout.count('"odd":') - done.stdout.count("even,odd") == 5
    assert "\x1b" not in done.stdout + done.stderr
    for name in ("empty", "text", "nowhere", "itself", "up", "huge"):
        assert name in done.stderr
    assert "pipe.png" not in done.stderr


def test_strange_paths_do_not_end_the_others(run, strange):
    given = [
        strange / "pipe.png",
        "/dev/zero",
        "a" * 5000,
        "",
        strange / "nothing*",
        strange / "up",
        strange / "good.png",
    ]
    done = run("predict", *given, "--model", "mlp", "--json")
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["file"] == str(strange / "good.png")


def test_names_in_a_list_may_have_any_bytes(run, strange):
    names = os.fsencode(strange) + b"/\xff\xfe.png\n"
    for given, options in ((["--files-from", "-"], {"input": names}), (["--files-from", strange / "list"], {})):
        (strange / "list").write_bytes(names)
        done = subprocess.run(
            [sys.executable, "-m", "oddeven.runtime", "predict", "--csv", "--model", "mlp", *given],
            capture_output=True, check=False, **options,
        )  # fmt: skip
        assert (done.returncode, b"\\udcff\\udcfe.png,odd" in done.stdout) == (0, True), done.stderr


def test_a_list_is_read_in_a_locale_without_utf_8(tmp_path, digit):
    (tmp_path / "numéro.png").write_bytes(digit.read_bytes())
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "oddeven.runtime", "predict", "--files-from", "-"],
        input="numéro.png\n".encode(), cwd=tmp_path, env=plain, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, b"odd" in done.stdout) == (0, True), done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's own device")
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_full_disk_is_one_sentence(digit, form):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "oddeven.runtime", "predict", str(digit), *form],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (6, "oddeven: The result cannot be written: No space left on device.\n")


def test_a_path_wins_over_a_bundled_name_in_every_command(run, exported, tmp_path, digit):
    """The user's own cnn lies where the command is called; its labels tell which one was taken."""
    own = read_spec(exported / "cnn.int8.tflite")
    mine = tmp_path / "mlp"
    content = (exported / "cnn.int8.tflite").read_bytes()
    (tmp_path / "plain").mkdir()
    mine.symlink_to(exported)
    done = run("predict", digit, "--model", "mlp", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not the bundled model" in done.stderr
    assert "taking mlp/cnn.int8." in done.stderr
    for command in (["info", "mlp", "--json"], ["bench", "mlp", "--seconds", "0.1"], ["selftest", "mlp"],
                    ["bundle", "mlp", "--out", "out.zip"]):  # fmt: skip
        done = run(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "not the bundled model" in done.stderr
        assert "cnn.int8.tflite" in done.stdout
        assert "mlp.int8.tflite" not in done.stdout
    mine.unlink()
    other = dataclasses.replace(own, labels=("left", "right"))
    mine.with_name("cnn").write_bytes(attach_to_tflite(content[: content.index(b"PK\3\4")], other))
    assert "no engine reads files without a suffix" in run("predict", digit, "--model", "cnn", cwd=tmp_path).stderr


def test_the_default_is_the_bundled_model_whatever_lies_here(run, digit, tmp_path):
    (tmp_path / "deep_cnn").mkdir()
    done = run("predict", digit, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("selftest", cwd=tmp_path).returncode == 0
    assert run("bench", "--seconds", "0.1", cwd=tmp_path).returncode == 0
    assert run("predict", digit, "--model", "deep_cnn", cwd=tmp_path).returncode == 4


def test_training_and_predicting_list_the_same(run, tmp_path):
    write(tmp_path / "set", (25, 25))
    (tmp_path / "set" / "china" / "x.eps").write_bytes(b"%!PS-Adobe")
    done = run("predict", tmp_path / "set", "--json")
    assert [record.path for record in training_set(tmp_path / "set").records] == sorted(
        tmp_path / "set" / json.loads(line)["file"] for line in done.stdout.splitlines()
    )
