"""An image folder as training, calibration, parity and the device see it: the same pixels to the last bit."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import time
from pathlib import Path

import click
import numpy as np
import pytest
import tensorflow as tf
from conftest import MNIST
from PIL import Image
from train.photographs import patches, write

from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines import quantization as tensor
from oddeven.runtime.errors import DataError, ModelError, OutputError, UsageError
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance
from oddeven.train import train_command
from oddeven.train.data import cache as cache_files
from oddeven.train.data import decoding
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.image_folder import load_image_set, outline_image_set
from oddeven.train.data.input_pipeline import evaluation_batches
from oddeven.train.data.registry import training_dataset

PROVENANCE = Provenance("parts", "", "none", 1, 0, {})
WANTED = InputSpec(32, 24, 3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def parts(tmp_path):
    return write(tmp_path / "parts", (40, 40))


def source(path, **changes):
    return ImageSource(**{"path": str(path), "input": WANTED, **changes})


class FloatEngine:
    """All that a classifier asks of an engine to prepare an image."""

    input = tensor.TensorInfo("image", (-1, 32, 24, 3), "float32")
    output = tensor.TensorInfo("probability", (-1, 1), "float32")
    familiarity = None


def save_in_every_way(folder):
    """The first images stored as phones, scanners and drawing programs do."""
    for number, (suffix, change) in enumerate(
        [
            ("jpg", lambda image: image),
            ("png", lambda image: image.convert("RGBA").rotate(20, fillcolor=(0, 0, 0, 0))),
            ("gif", lambda image: image.convert("P")),
            ("png", lambda image: image.convert("L")),
            ("png", lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)),
            ("webp", lambda image: image.resize((200, 71))),
            ("tif", lambda image: image.convert("CMYK")),
        ]
    ):
        (folder / f"{number:03}.png").unlink()
        change(Image.fromarray(patches()["china"][number])).save(folder / f"{number:03}.{suffix}")
    turned = Image.Exif()
    turned[0x0112] = 6
    (folder / "010.png").unlink()
    Image.fromarray(patches()["china"][10][:, :30]).save(folder / "010.jpg", exif=turned)


@pytest.mark.parametrize("fit", ["squash", "fit-shortest", "fit-longest"])
@pytest.mark.parametrize("channels", [1, 3])
def test_training_sees_the_pixels_that_the_device_will_see(parts, fit, channels):
    save_in_every_way(parts / "china")
    wanted = InputSpec(32, 24, channels, preprocessing=fit)
    data = load_image_set(source(parts, input=wanted))
    classifier = Classifier(FloatEngine(), ModelSpec("cnn", data.labels, wanted, PROVENANCE), FloatEngine)
    for split in (data.train, data.validation, data.test):
        fed = np.concatenate([x.numpy() for x, _ in evaluation_batches(split, wanted, 16)])
        for image, number, x in zip(split.images, split.index, fed, strict=True):
            prepared = classifier.prepare(data.files[number])
            np.testing.assert_array_equal(image, prepared)
            np.testing.assert_array_equal(x, classifier.encode(prepared[np.newaxis])[0])


def test_splits_cover_the_folder_once_and_labels_follow_the_folders(parts):
    data = load_image_set(source(parts))
    splits = (data.train, data.validation, data.test)
    assert sorted(np.concatenate([split.index for split in splits])) == list(range(80))
    assert [len(split) for split in splits] == [56, 12, 12]
    for split in splits:
        assert split.slices.tolist() == [data.labels[label] for label in split.labels]
        assert all(f"/{name}/" in data.files[i] for i, name in zip(split.index, split.slices, strict=True))
        assert 0 < split.labels[: len(split) // 2].mean() < 1  # mixed, so that a first part has both
    assert data.warnings == ()


def test_an_equal_folder_is_decoded_once_and_a_changed_one_again(parts, cache, monkeypatch):
    first = load_image_set(source(parts))
    monkeypatch.setattr(decoding, "decode_image", None)
    again = load_image_set(source(parts))
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.train.images, first.train.images)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    Image.fromarray(patches()["china"][90]).save(parts / "china" / "000.png")
    assert load_image_set(source(parts)).sha256 != first.sha256
    assert load_image_set(source(parts, seed=1)).sha256 != first.sha256
    assert not list(cache.rglob(".partial*"))


def only(cache, suffix):
    (path,) = cache.rglob(f"*{suffix}")
    return path


def cut(path):
    content = path.read_bytes()
    path.unlink()  # what is mapped must not shrink
    path.write_bytes(content[:100])


def renumber(path):
    record = json.loads(path.read_text())
    record["order"][0] = 9999
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("harm", [Path.unlink, cut, renumber])
def test_a_cache_entry_that_lost_a_part_is_made_again(parts, cache, suffix, harm):
    first = load_image_set(source(parts))
    if harm is not renumber or suffix == ".json":
        harm(only(cache, suffix))
    again = load_image_set(source(parts))
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert sorted(path.suffix for path in (cache / "oddeven").iterdir()) == [".json", ".npy"]


@pytest.mark.parametrize("harm", [{"seed": -1}, {"path": ""}, {"path": "a\0b"}, {"colour": 1}])
def test_a_damaged_record_of_the_images_is_one_sentence(parts, tmp_path, harm):
    record = json.loads(to_json(source(parts)))
    (tmp_path / "dataset.json").write_text(json.dumps({**record, **harm}))
    spec = ModelSpec("cnn", ("china", "flower"), WANTED, PROVENANCE)
    with pytest.raises(ModelError, match=r"dataset\.json: "):
        training_dataset(tmp_path / "cnn.keras", spec)


def test_images_that_were_moved_are_asked_for(parts, tmp_path):
    (tmp_path / "dataset.json").write_text(to_json(source(parts / "moved")))
    with pytest.raises(DataError, match="moved, which is not there; say where it is with --data PATH"):
        training_dataset(tmp_path / "cnn.keras", ModelSpec("cnn", ("china", "flower"), WANTED, PROVENANCE))


def test_an_image_of_another_size_than_the_raw_one_is_named(parts):
    (parts / "china" / "absent.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"\n  There is no file .*absent"):
        load_image_set(source(parts))
    (parts / "china" / "absent.png").unlink()
    with pytest.raises(DataError, match=r"000\.png: The preprocessing raw takes pixels of \(32, 24, 3\)"):
        load_image_set(source(parts, input=dataclasses.replace(WANTED, preprocessing="raw")))


def test_the_cache_keeps_to_its_size_and_to_what_was_used_last(parts, cache, monkeypatch):
    def hashes():
        return {path.stem for path in (cache / "oddeven").iterdir()}

    def aged(*stems, days):
        for stem in stems:
            for path in (cache / "oddeven").glob(f"{stem}.*"):
                os.utime(path, (time.time() - days * 86400,) * 2)

    old = load_image_set(source(parts, seed=1))
    (first,) = hashes()
    load_image_set(source(parts, seed=2))
    (second,) = hashes() - {first}
    aged(first, days=9)
    aged(second, days=8)
    load_image_set(source(parts, seed=1))  # so that it is the second that was used least recently
    size = sum(path.stat().st_size for path in (cache / "oddeven").iterdir()) / 2
    monkeypatch.setattr(cache_files, "KEPT_BYTES", 2.5 * size)
    load_image_set(source(parts, seed=3))
    assert first in hashes()
    assert second not in hashes()
    (third,) = hashes() - {first}
    monkeypatch.setattr(cache_files, "KEPT_BYTES", 0)
    load_image_set(source(parts, seed=4))
    assert {first, third} <= hashes()  # used today: another run may be at them
    aged(first, third, days=2)
    load_image_set(source(parts, seed=5))
    assert not {first, third} & hashes()
    assert old.train.images[0].any()  # what is mapped stays readable


def test_the_images_are_not_held_in_memory(parts):
    images = load_image_set(source(parts)).train.images
    assert isinstance(images, np.memmap)
    assert images.base is not None


def test_unusable_images_are_listed_and_stop_unless_allowed(parts):
    (parts / "china" / "000.png").write_bytes(b"")
    (parts / "china" / "001.png").write_bytes((parts / "china" / "002.png").read_bytes()[:99])
    Image.new("RGB", (50, 50), (9, 9, 9)).save(parts / "flower" / "000.png")
    (parts / "flower" / "loop.png").symlink_to(parts / "flower" / "loop.png")
    with pytest.raises(DataError) as stopped:
        load_image_set(source(parts, max_bad=3))
    lines = str(stopped.value).splitlines()
    assert lines[0].startswith(f"4 images of {parts} cannot be used and --max-bad allows 3;")
    for name in ("china/000.png", "china/001.png", "flower/000.png", "flower/loop.png"):
        assert any(name in line for line in lines[1:])
    data = load_image_set(source(parts, max_bad=4))
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 77
    assert len([text for text in data.warnings if text.startswith("Left out")]) == 4


def test_the_same_image_under_both_labels_is_unusable(parts):
    (parts / "flower" / "copy.png").write_bytes((parts / "china" / "003.png").read_bytes())
    with pytest.raises(DataError, match=r"china/003.png and .*flower/copy.png are the same image under both labels"):
        load_image_set(source(parts))


def test_near_duplicates_are_kept_together_and_reported(parts):
    for number in range(6):
        Image.fromarray(patches()["china"][20 + number]).save(parts / "china" / f"copy{number}.jpg", quality=80)
    data = load_image_set(source(parts))
    homes = {data.files[i]: home for home in ("train", "validation", "test") for i in getattr(data, home).index}
    for number in range(6):
        pair = (str(parts / "china" / f"{20 + number:03}.png"), str(parts / "china" / f"copy{number}.jpg"))
        assert homes[pair[0]] == homes[pair[1]]
    assert [text for text in data.warnings if "look the same; each pair is kept" in text]


def test_a_near_duplicate_across_given_splits_is_reported(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "set" / split, (30, 30))
    warnings = load_image_set(source(tmp_path / "set")).warnings
    assert [text for text in warnings if "are in different splits" in text]


def test_a_label_with_a_size_of_its_own_is_reported(parts):
    for path in (parts / "flower").iterdir():
        Image.open(path).resize((60, 41)).save(path)
    assert any("'china' are 53x53 and none of the other" in text for text in load_image_set(source(parts)).warnings)


@pytest.mark.parametrize("option", ["--data", "--mnist"])
def test_a_run_that_is_stopped_leaves_an_older_model_its_source(option, parts, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "train", stop)
    record = tmp_path / "runs" / "cnn" / "dataset.json"
    record.parent.mkdir(parents=True)
    record.write_text("of the older model")
    given = [option, str({"--data": parts, "--mnist": MNIST}[option]), "--out", str(tmp_path / "runs")]
    with pytest.raises(click.Abort):
        train_command.command.main(["cnn", *given], standalone_mode=False)
    assert record.read_text() == "of the older model"


def test_what_does_not_fit_into_memory_is_one_sentence(parts, monkeypatch):
    def allocate(_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(train_command, "plan_table", allocate)
    with pytest.raises(UsageError, match="too little memory to train this; give a smaller --image-size"):
        train_command.command.main(["cnn", "--data", str(parts), "--dry-run"], standalone_mode=False)


def test_groups_and_slices_of_a_csv_arrive(parts):
    with (parts / "set.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "group", "slice"))
        for number in range(40):
            for label in ("china", "flower"):
                rows.writerow((f"{label}/{number:03}.png", label, number // 4, "lamp" if number % 2 else "sun"))
    data = load_image_set(source(parts / "set.csv", positive="china"))
    assert data.labels == ("flower", "china")
    homes = {}
    for home in ("train", "validation", "test"):
        assert set(getattr(data, home).slices) == {"lamp", "sun"}
        for i in getattr(data, home).index:
            part = int(data.files[i].rsplit("/")[-1][:3]) // 4
            assert homes.setdefault(part, home) == home


def test_a_group_too_large_for_a_split_is_refused(parts):
    with (parts / "set.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "group"))
        rows.writerows((f"{x}/{n:03}.png", x, "one") for n in range(30) for x in ("china", "flower"))
    with pytest.raises(DataError, match="would lack a label: too many images look the same, are of one group"):
        load_image_set(source(parts / "set.csv"))


def test_the_outline_has_the_splits_without_opening_an_image(parts, monkeypatch):
    monkeypatch.setattr(decoding, "decode_image", None)
    outline = outline_image_set(source(parts))
    assert [len(split) for split in (outline.train, outline.validation, outline.test)] == [56, 12, 12]
    assert outline.train.images.shape == (56, 32, 24, 3)


def test_a_full_disk_is_found_before_the_work(parts, monkeypatch):
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        load_image_set(source(parts))
