"""What an image folder or a CSV file lists, and every way in which it may be wrong."""

from __future__ import annotations

import pytest
from train.photographs import write

from oddeven.runtime.errors import DataError, UsageError
from oddeven.train.data.listing import LEAST, Record, read_listing

ENOUGH = (LEAST, LEAST)


def touch(folder, count=LEAST, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}{suffix}").touch()


def csv_of(folder, header, rows):
    touch(folder / "p", 2 * LEAST)
    (folder / "set.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "set.csv"


def rows(extra=lambda number: "", labels=("a", "b")):
    return [f"p/{number}.png,{labels[number % 2]}{extra(number)}" for number in range(2 * LEAST)]


def test_a_folder_for_each_label(tmp_path):
    touch(tmp_path / "parts" / "good")
    touch(tmp_path / "parts" / "bad" / "camera 2", suffix=".JPG")
    (tmp_path / "parts" / "good" / "notes.txt").touch()
    (tmp_path / "parts" / ".hidden").mkdir()
    listing = read_listing(tmp_path / "parts")
    assert (listing.name, listing.labels, len(listing.records)) == ("parts", ("bad", "good"), 2 * LEAST)
    assert listing.records[0] == Record(tmp_path / "parts/bad/camera 2/0.JPG", "bad", slice="bad")
    assert read_listing(tmp_path / "parts", positive="bad").labels == ("good", "bad")
    with pytest.raises(UsageError, match="known are bad, good"):
        read_listing(tmp_path / "parts", positive="Bad")


def test_splits_above_the_labels(tmp_path):
    for split in ("train", "validation", "test"):
        touch(tmp_path / split / "a")
        touch(tmp_path / split / "b")
    assert [r.split for r in read_listing(tmp_path).records] == [
        s for s in ("test", "train", "val") for _ in range(2 * LEAST)
    ]
    touch(tmp_path / "extra" / "a")
    with pytest.raises(DataError, match="'extra' is not one of"):
        read_listing(tmp_path)


def test_a_csv_with_every_column(tmp_path):
    path = csv_of(
        tmp_path, "path,label,split,group,slice",
        rows(lambda n: f",{'test' if n < 6 else 'train'},part {n // 2},{'lamp' if n % 3 else ''}"),
    )  # fmt: skip
    first = read_listing(path).records[0]
    assert first == Record(tmp_path / "p" / "0.png", "a", "test", "part 0", "a")


@pytest.mark.parametrize("name", ["with space", 'it\'s "q"', "line\nfeed", "größe ☃", "a,b", "$x$"])
def test_odd_file_names_are_only_names(tmp_path, name):
    write(tmp_path, ENOUGH)
    (tmp_path / "china" / "000.png").rename(tmp_path / "china" / f"{name}.png")
    assert any(record.path.name == f"{name}.png" for record in read_listing(tmp_path).records)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"a": LEAST}, r"1 label \('a'\); expected two"),
        ({"a": LEAST, "b": LEAST, "c": LEAST}, r"3 labels \('a', 'b', 'c'\)"),
        ({"a": LEAST, "b": 4}, r"too few images of 'b' \(4\); at least 25"),
        ({"a": LEAST, "A": LEAST}, r"differ only in case \('A', 'a'\)"),
        ({"a": LEAST, "b\nc": LEAST}, r"'b\\nc' cannot be a label"),
        ({"a": LEAST, "Unknown": LEAST}, "'Unknown' cannot be a label: predictions say so"),
        ({"a": LEAST, "b": 0}, "b' holds no image"),
        ({}, "0 labels"),
    ],
)
def test_labels_that_cannot_be(tmp_path, labels, says):
    for name, count in labels.items():
        touch(tmp_path / name, count)
    with pytest.raises(DataError, match=says):
        read_listing(tmp_path)


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    touch(tmp_path / "elsewhere")
    touch(tmp_path / "set" / "a")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    assert len(read_listing(tmp_path / "set").records) == 2 * LEAST
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match=r"leads back to .* remove the link"):
        read_listing(tmp_path / "set")


@pytest.mark.parametrize(
    ("header", "lines", "says"),
    [
        ("file,label", rows(), "expected path, label"),
        ("path,label,grp", rows(lambda _: ",1"), "expected path, label"),
        ("path,label,path", rows(lambda _: ",1"), "expected path, label"),
        ("path,label,group", rows(), "row 2: expected 3 values"),
        ("path,label", [*rows(), "p/absent.png,a"], "1 missing files, first 'p/absent.png'"),
        (
            "path,label",
            [*rows(), "p/3.png,b", "./p/4.png,a", "p/3.png,b"],
            r"lists images more than once: 2, first .*3\.png",
        ),
        ("path,label", ["p/0.png,a", '"p/1.png,b'], "cannot be read as a CSV"),
        ("path,label,split", rows(lambda n: ",dev"), "has the split 'dev'"),
        ("path,label,split", rows(lambda n: ",train"), "expected train and test"),
        ("path,label,split", rows(lambda n: ",test" if n % 2 else ",train"), "split test .* one label only"),
        ("path,label,split", rows(lambda n: ",test" if n < 4 else "," if n < 9 else ",train"), "has the split ''"),
        (
            "path,label,split,group",
            rows(lambda n: f",{'test' if n < 4 else 'train'},{n % 3}"),
            "group '.' .* is in .* and in",
        ),
    ],
)
def test_a_csv_that_cannot_be(tmp_path, header, lines, says):
    with pytest.raises(DataError, match=says):
        read_listing(csv_of(tmp_path, header, lines))


def test_a_csv_in_another_encoding_and_a_path_that_is_not_there(tmp_path):
    path = csv_of(tmp_path, "path,label", rows())
    path.write_bytes(path.read_text().replace("a", "ä").encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_listing(path)
    with pytest.raises(DataError, match="no folder or CSV file"):
        read_listing(tmp_path / "absent")
