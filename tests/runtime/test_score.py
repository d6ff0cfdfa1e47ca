"""`oddeven score`: every kind of source, what is broken in it, kills, and that nothing is done twice."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from PIL import Image

from oddeven.runtime import Classifier
from oddeven.runtime.archive.blocks import FOLDER_BLOCK, blocks_of
from oddeven.runtime.archive.score import Run, missing, rows_of, summarise, write_rows
from oddeven.runtime.errors import DataError, MissingPackageError
from oddeven.runtime.prediction import Prediction

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
fsspec = pytest.importorskip("fsspec")

UNREADABLE = 5
COUNT = 60


@pytest.fixture(scope="module")
def jpegs(raw):
    def encode(pixels):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=90)
        return content.getvalue()

    return [encode(pixels) for pixels in raw["x_test"][:COUNT]]


@pytest.fixture(scope="module")
def expected(jpegs):
    with Classifier.load("mlp") as classifier:
        return [classifier.predict(content) for content in jpegs]


def write_tar(path, contents, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def as_folder(place, named):
    (place / "deep").mkdir()
    for name, content in named.items():
        (place / "deep" / name).write_bytes(content)
    (place / "notes.txt").write_text("no image")
    return place


def as_tar(place, named):
    # WebDataset's layout: what belongs to an image has its name.
    both = {n: c for name, content in named.items() for n, c in ((name, content), (f"{name[:-4]}.json", b"{}"))}
    items = list(both.items())
    write_tar(place / "a.tar", dict(items[: len(items) // 2]))
    write_tar(place / "b.tar.gz", dict(items[len(items) // 2 :]), "w:gz")
    return place


def as_parquet(place, named):
    table = pa.table({"key": list(named), "image": list(named.values())})
    pq.write_table(table, place / "a.parquet", row_group_size=25)
    return place / "a.parquet"


def as_huggingface(place, named):
    table = pa.table({"path": list(named), "image": [{"bytes": c, "path": None} for c in named.values()]})
    pq.write_table(table, place / "a.parquet")
    return place


def as_memory(place, named):
    system = fsspec.filesystem("memory")
    for name, content in named.items():
        system.pipe(f"/{place.name}/{name}", content)
    return f"memory://{place.name}"


def as_cached(place, named):
    return f"filecache::{as_memory(place, named)}"


KINDS = (as_folder, as_tar, as_parquet, as_huggingface, as_memory, as_cached)


def answers(out):
    """Every row by the last part of its key."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("part-*.parquet"))])
    rows = {row["key"].rpartition("/")[2]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    return rows


def score(source, out):
    """The command in this process, where the memory file system is."""
    from oddeven.runtime.cli.main import cli

    arguments = ["score", str(source), "--out", str(out), "--model", "mlp", "--json"]
    return cli.main(arguments, standalone_mode=False)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_of_source_gives_the_predictions_of_predict(kind, jpegs, expected, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    named = {f"{number:03}.jpg": content for number, content in enumerate(jpegs)}
    named["010.jpg"] = b"no image"
    out = tmp_path / "out"
    assert score(kind(tmp_path / "in", named), out) == UNREADABLE
    rows = answers(out)
    assert set(rows) == set(named)
    broken = rows.pop("010.jpg")
    assert (broken["label"], broken["probability"]) == (None, None)
    assert broken["error"]
    for name, row in rows.items():
        prediction = expected[int(name[:3])]
        assert row["label"] == prediction.label
        assert row["probability"] == pytest.approx(prediction.probability, abs=1e-7)  # float32 against float64
        assert len(row["model_sha256"]) == 64
    printed = json.loads(capsys.readouterr().out)
    assert (printed["images"], printed["unreadable"]) == (COUNT, 1)
    assert sum(printed["histogram"]) == COUNT - 1


def test_what_is_done_is_not_done_again_and_another_model_is_refused(jpegs, run, tmp_path):
    shards, out = tmp_path / "shards", tmp_path / "shards" / "out"
    shards.mkdir()
    write_tar(shards / "a.tar", {"a.jpg": jpegs[0]})
    arguments = ("score", shards, "--out", out, "--html", tmp_path / "page.html")
    assert run(*arguments, "--model", "mlp").returncode == 0
    (first,) = out.glob("part-*")
    before = first.stat()
    write_tar(shards / "b.tar", {"b.jpg": jpegs[1]})
    done = run(*arguments, "--model", "mlp")
    assert done.returncode == 0, done.stderr
    assert (first.stat().st_mtime_ns, len(answers(out))) == (before.st_mtime_ns, 2)
    assert re.search("2 images, mlp [0-9a-f]{12}<", (tmp_path / "page.html").read_text())
    other = ("score", shards, "--out", tmp_path / "other", "--html", tmp_path / "other.html", "--min-familiarity", "0")
    assert run(*other, "--model", "mlp").returncode == 0
    assert re.search("mlp [0-9a-f]{12}, min_familiarity 0.0<", (tmp_path / "other.html").read_text())
    done = run(*arguments, "--model", "cnn")
    assert (done.returncode, "name another --out" in done.stderr) == (2, True)


def test_an_image_that_is_written_again_is_scored_again_and_counted_once(raw, tmp_path, capsys):
    photos, out, size = tmp_path / "photos", tmp_path / "out", set()
    photos.mkdir()
    for seconds, number in enumerate((0, 1)):  # odd, even
        Image.fromarray(raw["x_test"][number]).save(photos / "a.bmp")
        os.utime(photos / "a.bmp", (seconds, seconds))
        size.add((photos / "a.bmp").stat().st_size)
        assert score(photos, out) == 0
    assert len(size) == 1
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["labels"] == {"even": 1}


def test_links_are_followed_but_not_in_a_circle(raw, jpegs, tmp_path, capsys):
    photos, elsewhere, out = tmp_path / "photos", tmp_path / "elsewhere", tmp_path / "out"
    (elsewhere / "deep").mkdir(parents=True)
    photos.mkdir()
    (photos / "link").symlink_to("../elsewhere")
    (photos / "up").symlink_to("..")
    (elsewhere / "back").symlink_to("../photos")
    (photos / "gone.jpg").symlink_to("nowhere")
    (elsewhere / "deep" / "a.jpg").write_bytes(jpegs[0])
    (photos / ".checkpoints").mkdir()  # is hidden, and left out as everywhere
    (photos / ".checkpoints" / "d.jpg").write_bytes(jpegs[0])
    (photos / "b.bmp").symlink_to("../c.bmp")
    for seconds, number in enumerate((0, 1)):  # odd, even
        Image.fromarray(raw["x_test"][number]).save(tmp_path / "c.bmp")
        os.utime(tmp_path / "c.bmp", (seconds, seconds))
        assert score(photos, out / str(number)) == UNREADABLE
        assert set(answers(out / str(number))) == {"a.jpg", "b.bmp", "gone.jpg"}
    score(photos, out / "0")  # what a link leads to has changed
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["labels"] == {"odd": 1, "even": 1}


def test_files_of_blocks_that_are_no_more_are_named_and_not_counted(jpegs, run, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"no image")
    command = ("score", photos, "--out", out, "--model", "mlp", "--json")
    assert run(*command).returncode == UNREADABLE
    (before,) = out.glob("part-*")
    for number in range(3):
        (photos / f"{'abc'[number]}.jpg").write_bytes(jpegs[number])
    done = run(*command)
    assert (done.returncode, json.loads(done.stdout)["images"]) == (0, 3), done.stderr
    assert (f"(1): {before.name};" in done.stderr, len(done.stderr.splitlines())) == (True, 1)
    before.unlink()
    assert run(*command).stderr == ""


def test_a_damaged_file_of_predictions_is_one_sentence(jpegs, run, tmp_path):
    write_tar(tmp_path / "a.tar", {"a.jpg": jpegs[0]})
    command = ("score", tmp_path / "a.tar", "--out", tmp_path / "out", "--model", "mlp")
    assert run(*command).returncode == 0
    (part,) = (tmp_path / "out").glob("part-*")
    whole = part.read_bytes()
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # of the columns
    empty = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), empty)
    for damaged in (b"", whole[:-20], b"PAR1" + b"\xff" * (end - 4) + whole[end:], empty.getvalue()):
        part.write_bytes(damaged)
        done = run(*command)
        assert (done.returncode, len(done.stderr.splitlines())) == (UNREADABLE, 1), done.stderr
        assert f"{part} is damaged" in done.stderr


def test_a_damaged_parquet_file_is_a_row_with_a_reason_beside_the_others(jpegs, tmp_path):
    (tmp_path / "in").mkdir()
    whole = as_parquet(tmp_path / "in", {"0.jpg": jpegs[0]})
    for number, content in enumerate((b"", whole.read_bytes()[:-20], b"PAR1" + b"\xff" * 99 + b"PAR1")):
        (tmp_path / "in" / f"b{number}.parquet").write_bytes(content)
    assert score(tmp_path / "in", tmp_path / "out") == UNREADABLE
    rows = answers(tmp_path / "out")
    assert rows.pop("0.jpg")["error"] is None
    assert sorted(rows) == ["b0.parquet", "b1.parquet", "b2.parquet"]
    assert all(f"{name} breaks off: " in row["error"] for name, row in rows.items())


def test_a_shard_that_breaks_off_keeps_what_was_before(jpegs, tmp_path):
    shard, out = tmp_path / "a.tar", tmp_path / "out"
    write_tar(shard, {f"{number}.jpg": content for number, content in enumerate(jpegs)})
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2 + 300])
    assert score(shard, out) == UNREADABLE
    rows = answers(out)
    assert "breaks off" in rows.pop("a.tar")["error"]
    assert len(rows) > COUNT // 3


def test_a_shard_cut_anywhere_or_damaged_says_so(jpegs, tmp_path):
    shard = tmp_path / "a.tar"
    write_tar(shard, {f"{number}.jpg": content for number, content in enumerate(jpegs[:4])})
    whole = shard.read_bytes()
    end = len(whole.rstrip(b"\0"))
    contents = [item[1] for item in blocks_of(str(shard))[0].items()]
    assert contents == jpegs[:4]
    second = whole.index(b"1.jpg")
    damaged = whole[:second] + b"x" + whole[second + 1 :]
    for broken in (damaged, *(whole[:cut] for cut in range(1, end, 64))):
        shard.write_bytes(broken)
        *before, (_, last) = blocks_of(str(shard))[0].items()
        assert isinstance(last, DataError)
        assert [content for _, content in before] == contents[: len(before)]


def test_a_damaged_row_group_and_rows_without_bytes_are_rows_with_a_reason(jpegs, tmp_path):
    table, place = pa.table({"image": [jpegs[0], jpegs[1]]}), tmp_path / "a.parquet"
    pq.write_table(table, place, row_group_size=1, use_dictionary=False)
    whole = place.read_bytes()
    place.write_bytes(whole[:4] + b"\xff" * 100 + whole[104:])
    assert score(place, tmp_path / "damaged") == UNREADABLE
    rows = answers(tmp_path / "damaged")
    assert "a.parquet#0 breaks off" in rows.pop("a.parquet")["error"]
    assert [row["error"] for row in rows.values()] == [None]
    pq.write_table(pa.table({"image": [{"path": "a.jpg"}]}), place)
    assert score(place, tmp_path / "empty") == UNREADABLE
    assert [row["error"] for row in answers(tmp_path / "empty").values()] == ["There are no bytes in this row."]


def test_a_row_without_a_key_is_called_by_its_number(jpegs, tmp_path):
    pq.write_table(pa.table({"image": [jpegs[0], jpegs[1]], "path": ["b.jpg", None]}), tmp_path / "a.parquet")
    assert score(tmp_path / "a.parquet", tmp_path / "out") == 0
    assert set(answers(tmp_path / "out")) == {"b.jpg", "a.parquet#1"}


def test_a_source_that_is_named_twice_is_scored_once(jpegs, tmp_path):
    write_tar(tmp_path / "a.tar", {f"{number}.jpg": content for number, content in enumerate(jpegs[:4])})
    twice = [block for source in ("a.tar", "") for block in blocks_of(str(tmp_path / source))]
    assert len(twice) == 2
    assert missing(twice, tmp_path / "out") == twice[1:]


def test_what_holds_no_images_is_refused(jpegs, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "missing", "nosuch://x", ""):
        done = run("score", source, "--out", tmp_path / "out", "--model", "mlp")
        assert (done.returncode, len(done.stderr.splitlines())) in {(UNREADABLE, 1)}, done.stderr
    write_tar(tmp_path / "notes.tar", {"notes.txt": b"no image"})
    done = run("score", tmp_path / "notes.tar", "--out", tmp_path / "out", "--model", "mlp")
    assert (done.returncode, "notes.tar holds no image" in done.stderr) == (UNREADABLE, True), done.stderr
    write_tar(tmp_path / "a.tar", {"a.jpg": jpegs[0]})
    assert run("score", tmp_path, "--out", tmp_path / "out", "--model", "mlp").returncode == 0
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert score(tmp_path / "a.parquet", tmp_path / "out") == UNREADABLE


def test_a_package_that_a_url_needs_is_missing_and_not_broken(monkeypatch):
    def url_to_fs(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    with pytest.raises(MissingPackageError, match="s3://a/b cannot be read: Install s3fs to access S3"):
        blocks_of("s3://a/b")


def test_familiarity_and_reason_are_columns_and_null_where_there_is_none(tmp_path):
    class Three:
        def predict_batch(self, images, errors):
            assert (len(images), errors) == (3, "return")
            yield Prediction("odd", 0.75, {}, familiarity=0.25)
            yield Prediction("unknown", 0.5, {}, "seldom seen")
            yield DataError("broken")

    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    (block,) = blocks_of(str(tmp_path))
    part = io.BytesIO()
    assert write_rows(part, rows_of(block, Three(), Run("m", "hash", ""))) == 3
    rows = [list(row.values())[1:] for row in pq.read_table(part).to_pylist()]
    assert rows == [
        ["odd", 0.75, 0.25, None, "hash"],
        ["unknown", 0.5, None, "seldom seen", "hash"],
        [None, None, None, "broken", "hash"],
    ]


def test_a_large_folder_is_several_blocks(tmp_path):
    for number in range(FOLDER_BLOCK + 1):
        (tmp_path / f"{number}.png").touch()
    assert [len(block.paths) for block in blocks_of(str(tmp_path))] == [FOLDER_BLOCK, 1]
    with pytest.raises(DataError):
        blocks_of(str(tmp_path / "none"))


@pytest.mark.long
def test_killed_at_random_nothing_is_lost_and_nothing_is_double(jpegs, tmp_path):
    shards, out = tmp_path / "shards", tmp_path / "out"
    shards.mkdir()
    for shard in range(24):
        write_tar(shards / f"{shard:02}.tar", {f"{shard:02}-{n:02}.jpg": content for n, content in enumerate(jpegs)})
    command = [sys.executable, "-m", "oddeven.runtime", "score", shards, "--out", out, "--model", "mlp"]
    dice, kills = random.Random(0), 0
    for _ in range(60):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        there = len(list(out.glob("part-*")))
        while process.poll() is None and len(list(out.glob("part-*"))) == there:
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.05))
        process.kill()
        code = process.wait()
        kills += code == -signal.SIGKILL
        if code == 0:
            break
    assert kills > 3
    assert len(answers(out)) == 24 * COUNT
    assert summarise(out, blocks_of(str(shards))).images == 24 * COUNT
