"""`oddeven watch`: killed often, torn lines, half-written pictures, and what it costs to wait."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from oddeven.runtime.device.drift import summary_path
from oddeven.runtime.device.journal import Journal
from oddeven.runtime.errors import DataError, OutputError, UsageError
from oddeven.runtime.prediction import Prediction

LABELS = ("even", "odd")
EACH_KILL = 200  # pictures that arrive before each start


def answers(path):
    """Every line of a journal as (file, label), without any code of ours."""
    text = path.read_text()
    if path.suffix == ".csv":
        return [(row["file"], row["label"]) for row in csv.DictReader(text.splitlines())]
    return [(line["file"], line["label"]) for line in map(json.loads, text.splitlines())]


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kills"), [("out.jsonl", 24), ("out.csv", 6)])
def test_no_line_is_lost_and_none_is_double_however_often_it_is_killed(pictures, start, run, tmp_path, name, kills):
    expected = pictures(EACH_KILL * kills, tmp_path / "made")
    arriving, inbox, out = iter(sorted((tmp_path / "made").iterdir())), tmp_path / "inbox", tmp_path / name
    inbox.mkdir()
    dice = random.Random(0)
    interrupted = 0
    for kill in range(kills):
        for path in islice(arriving, EACH_KILL):
            path.rename(inbox / path.name)
        process = start("watch", inbox, "--out", out, "--model", "mlp")
        if kill % 4:  # most die while they write, some before
            before = out.stat().st_size if out.exists() else 0
            wait_for(lambda before=before: out.exists() and out.stat().st_size > before, process)
            time.sleep(dice.uniform(0, 0.005))
        else:
            time.sleep(dice.uniform(0, 0.4))
        assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
        if out.exists():
            interrupted += 0 < len(out.read_bytes().splitlines()) < EACH_KILL * (kill + 1)
    assert interrupted
    done = run("watch", tmp_path / "inbox", "--out", out, "--model", "mlp", "--once")
    assert done.returncode == 0, done.stderr
    found = answers(out)
    assert len(found) == len(expected)
    assert dict(found) == expected


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_torn_line_at_any_byte_is_mended(pictures, run, tmp_path, name):
    expected = pictures(3)
    out = tmp_path / name
    watch = ("watch", tmp_path / "inbox", "--out", out, "--model", "mlp", "--once")
    assert run(*watch).returncode == 0
    whole = out.read_bytes()
    line = whole.splitlines(keepends=True)[-1]
    for cut in range(1, len(line) + 1):
        out.write_bytes(whole[:-cut])
        with Journal(out, LABELS) as journal:
            assert len(journal.done) == 2
        assert out.read_bytes() == whole[: -len(line)]
    assert run(*watch).returncode == 0
    assert out.read_bytes() == whole
    assert dict(answers(out)) == expected
    out.write_bytes(whole[:5])  # of CSV the header
    assert run(*watch).returncode == 0
    assert out.read_bytes() == whole


@pytest.fixture
def watched(pictures, start, tmp_path):
    """A picture's content, an empty folder, the journal of a `watch` of it, and that process."""
    pictures(1, tmp_path / "made")
    content = (tmp_path / "made" / "00000.png").read_bytes()
    inbox, out = tmp_path / "inbox", tmp_path / "out.jsonl"
    inbox.mkdir()
    process = start("watch", inbox, "--out", out, "--model", "mlp", "--interval", "0.05")
    wait_for(out.exists, process)
    return content, inbox, out, process


def test_a_picture_that_another_process_is_writing_is_waited_for(watched):
    content, inbox, out, process = watched
    with (inbox / "slow.png").open("wb", buffering=0) as file:
        file.write(content[: len(content) // 2])
        time.sleep(2.0)  # longer than a picture takes to settle
        assert out.read_bytes() == b""
        file.write(content[len(content) // 2 :])
    wait_for(lambda: out.read_bytes().endswith(b"\n"), process)
    process.terminate()
    assert process.wait() == 0
    assert answers(out) == [("slow.png", "odd")]


def test_a_picture_that_a_machine_with_a_slow_clock_is_writing_is_waited_for(watched):
    content, inbox, out, process = watched
    time.sleep(0.3)  # or more, until the first look at the folder
    for part in (0.3, 0.6, 1):
        (inbox / ".slow.png").write_bytes(content[: int(part * len(content))])
        os.utime(inbox / ".slow.png", (1e9 + part, 1e9 + part))
        (inbox / ".slow.png").rename(inbox / "slow.png")
        time.sleep(0.4)
    wait_for(lambda: out.read_bytes().endswith(b"\n"), process)
    assert answers(out) == [("slow.png", "odd")]


def test_a_picture_written_anew_is_a_new_one_and_a_broken_one_is_noted_once(pictures, run, tmp_path):
    pictures(2)
    inbox, out = tmp_path / "inbox", tmp_path / "out.csv"
    (inbox / 'broken\n,".png').write_bytes(b"no picture")
    os.utime(inbox / 'broken\n,".png', (1e9, 1e9))
    (inbox / ".hidden.png").write_bytes(b"")
    watch = ("watch", inbox, "--out", out, "--model", "mlp", "--once")
    assert run(*watch).returncode == 0
    assert run(*watch).returncode == 0
    assert sorted(answers(out)) == [("00000.png", "odd"), ("00001.png", "even"), ('broken\\n,".png', "unreadable")]
    shutil.copyfile(inbox / "00001.png", inbox / "00000.png")
    os.utime(inbox / "00000.png", (1.1e9, 1.1e9))
    done = run(*watch, "--json")
    assert json.loads(done.stdout)["label"] == "even"
    assert len(answers(out)) == 4


def test_a_folder_that_is_missing_is_no_wrong_usage_after_which_the_service_would_not_start_again(run, tmp_path):
    done = run("watch", tmp_path / "stick", "--out", tmp_path / "a.jsonl", "--model", "mlp")
    assert (done.returncode, "There is no folder" in done.stderr) == (5, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_a_service_or_of_a_terminal_unwinds_the_program(pictures, start, tmp_path, sent):
    pictures(1)
    out = tmp_path / "out.jsonl"
    before = signal.signal(sent, signal.SIG_DFL)  # it may be ignored here, as by nohup, and so would be in the process
    process = start("watch", tmp_path / "inbox", "--out", out, "--model", "mlp")
    signal.signal(sent, before)
    wait_for(lambda: out.exists() and out.read_bytes().endswith(b"\n"), process)
    process.send_signal(sent)
    assert process.wait(timeout=60) == 0
    assert summary_path(out).exists()


def test_a_journal_that_is_removed_while_it_is_open_takes_no_more_lines(tmp_path):
    out = tmp_path / "a.jsonl"
    with Journal(out, LABELS) as journal:
        journal.add(("a.png", 1), Prediction("odd", 1.0, {}))
        out.rename(tmp_path / "b.jsonl")  # as by logrotate
        journal.add(("b.png", 2), Prediction("odd", 1.0, {}))
        (tmp_path / "b.jsonl").unlink()
        with pytest.raises(OutputError, match="was removed"):
            journal.add(("c.png", 3), Prediction("odd", 1.0, {}))
        assert ("c.png", 3) not in journal.done


def test_a_journal_has_one_writer_and_one_kind_of_line(run, tmp_path):
    with Journal(tmp_path / "a.jsonl", LABELS):
        done = run("watch", tmp_path, "--out", tmp_path / "a.jsonl", "--model", "mlp", "--once")
    assert done.returncode == 2
    assert "Another process writes to" in done.stderr
    assert run("watch", tmp_path, "--out", tmp_path / "a.jsonl", "--model", "mlp", "--once").returncode == 0
    with Journal(tmp_path / "a.csv", LABELS):
        pass
    with pytest.raises(UsageError, match="name another --out"):
        Journal(tmp_path / "a.csv", ("good", "bad"))
    (tmp_path / "b.jsonl").write_text('{"file": "a"}\n')
    with pytest.raises(DataError, match="line 1"):
        Journal(tmp_path / "b.jsonl", LABELS)
    with pytest.raises(UsageError, match="kind of journal"):
        Journal(tmp_path / "b.txt", LABELS)
    done = run("watch", tmp_path, "--out", "b", "--once")
    assert (done.returncode, "kind of journal" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_file_without_a_line_break_is_no_torn_journal_unless_it_begins_as_one(tmp_path, name):
    out = tmp_path / name
    out.write_text('{"mine": "and the only copy"}')
    with pytest.raises(DataError, match="line 1"):
        Journal(out, LABELS)
    assert out.read_text() == '{"mine": "and the only copy"}'
    begun = '{"file": "00' if name == "out.jsonl" else "file,la"
    for torn in (begun, begun + "\0" * 9, "\0" * 9):  # a power cut may leave zeros
        out.write_text(torn)
        with Journal(out, LABELS):
            assert out.read_text() in ("", "file,label,probability,familiarity,even,odd,reason,mtime_ns\n")


def cpu_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_waiting_costs_nearly_nothing(pictures, start, tmp_path):
    pictures(300)
    out = tmp_path / "out.jsonl"
    process = start("watch", tmp_path / "inbox", "--out", out, "--model", "mlp", "--interval", "0.01")
    wait_for(lambda: out.exists() and len(out.read_bytes().splitlines()) == 300, process)
    time.sleep(0.3)
    before, start_time = cpu_seconds(process), time.monotonic()
    time.sleep(3)
    share = (cpu_seconds(process) - before) / (time.monotonic() - start_time)
    # At most a fiftieth for looking, however short the interval; the rest is the clock's tick, 0.01 s of 3, and waking.
    assert share < 0.05


@pytest.mark.parametrize(
    "line", ['{"file": "a", "label": "odd", "mtime_ns": 1e999}', '{"file": "a", "mtime_ns": 1}', "[" * 100_000]
)
def test_a_line_that_is_no_prediction_is_named(tmp_path, line):
    (tmp_path / "out.jsonl").write_text(f"{line}\n")
    with pytest.raises(DataError, match="line 1"):
        Journal(tmp_path / "out.jsonl", ("even", "odd"))
