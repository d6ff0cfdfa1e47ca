"""The drift test: its false alarms and its delay by simulation, its summary through kills, and what is drawn of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from oddeven.runtime import Classifier
from oddeven.runtime.device import drift
from oddeven.runtime.device.drift import BLOCKS, REFERENCE, DriftMonitor, Share, read_summary, step, summary_path
from oddeven.runtime.errors import DataError, OutputError
from oddeven.runtime.parity.statistics import share_limits
from oddeven.runtime.prediction import Prediction

NONE = MappingProxyType({})


@pytest.fixture(scope="module")
def spec():
    with Classifier.load("mlp") as classifier:
        return classifier.spec


def images(count, seed, familiarity=lambda dice: dice.random(), even=0.5):
    dice = random.Random(seed)
    for _ in range(count):
        yield Prediction("even" if dice.random() < even else "odd", 0.9, NONE, "", familiarity(dice))


def less_familiar(dice):
    """Half of the images are under 0.1."""
    return dice.random() / (10 if dice.random() < 0.5 else 1)


def notes_of(monitor, predictions):
    return [note for prediction in predictions for note in monitor.add(prediction)]


def test_no_bet_has_an_expected_gain_while_the_share_is_usual():
    for low, high in ((0.0, 0.02), (0.06, 0.16), (0.4, 0.6), (0.9, 1.0)):
        for recent in np.linspace(0, 1, 101):
            won, lost = (step(recent, 1.0, hit, low, high, 1e9)[1] for hit in (True, False))
            for share in np.linspace(low, high, 11):
                # Two products and a sum of numbers of up to a hundred: a few units in the last place of each.
                assert share * won + (1 - share) * lost <= 1 + 1e-12


@pytest.mark.parametrize("hits", [50, 250])
@pytest.mark.parametrize("edge", [0, 1])
def test_false_alarms_are_as_rare_as_promised_even_at_the_edge_of_what_is_usual(hits, edge):
    limits = share_limits(hits, REFERENCE, drift.CONFIDENCE)
    dice, mean, runs, lengths = random.Random(hits + edge), 30, 200, []
    for _ in range(runs):
        recent, evidence, length = hits / REFERENCE, 1.0, 0
        while evidence < mean and length < 10 * mean:  # stopped early, the mean only seems shorter
            recent, evidence = step(recent, evidence, dice.random() < limits[edge], *limits, mean)
            length += 1
        lengths.append(length)
    assert np.mean(lengths) >= mean


def test_usual_images_raise_no_alarm_and_less_familiar_ones_do_at_once(spec):
    monitor = DriftMonitor(spec, None)
    assert notes_of(monitor, images(10_000, seed=1)) == []
    notes = notes_of(monitor, images(300, seed=2, familiarity=less_familiar))
    assert any(note.startswith("drift: familiarity under 0.1 is ") for note in notes)
    assert next(share.name for share in monitor.shares if share.departed) == "familiarity under 0.1"
    back = notes_of(monitor, images(1000, seed=3))
    assert len(back) == len(notes)
    assert all(note.startswith("no drift any more: ") for note in back)


def test_what_is_unlike_validation_from_the_first_day_is_said_and_is_usual_after_that(spec):
    monitor = DriftMonitor(spec, None)
    first = notes_of(monitor, images(REFERENCE + 1, 1, familiarity=less_familiar))
    assert any(note.startswith("drift: familiarity under 0.1 is ") for note in first)
    assert not any(share.departed for share in monitor.shares[:2])
    assert notes_of(monitor, images(3000, 2, familiarity=less_familiar)) == []
    assert "drift: familiarity under 0.1 is " in " ".join(notes_of(monitor, images(300, 3, familiarity=lambda _: 0.0)))


def test_a_label_departs_from_its_share_among_the_first_images(spec):
    monitor = DriftMonitor(spec, None)
    assert notes_of(monitor, images(5000, seed=1, familiarity=lambda _: None, even=0.9)) == []
    even = monitor.shares[2]
    assert (even.name, even.low < 0.9 < even.high) == ("even", True)
    assert "drift: even is " in " ".join(notes_of(monitor, images(2000, 2, lambda _: None, even=0.6)))
    assert monitor.shares[0].totals == (0, 0)  # a file that does not say how familiar an image is
    covered = notes_of(monitor, [Prediction("uncertain", 0.0, NONE, "blank")] * 300)
    assert "drift: no label is " in " ".join(covered)


def test_frames_that_follow_closely_count_once(spec):
    monitor = DriftMonitor(spec, None, every_s=0.2)
    start, added = time.monotonic(), 0
    while time.monotonic() < start + 0.5:
        notes_of(monitor, images(1, seed=added))
        added += 1
    assert monitor.shares[2].totals[0] <= 1 + (time.monotonic() - start) / 0.2
    assert added > 10


def test_the_summary_keeps_its_size_and_its_totals():
    share, hits = Share("x", 0.4, 0.6, 0.5), 0
    for number in range(1, 20_001):
        hit = number % 3 == 0
        share, hits = share.after(hit), hits + hit
        assert len(share.history) <= BLOCKS
    assert share.totals == (20_000, hits)
    assert len({size for size, _ in share.history[:-1]}) == 1


def test_what_is_saved_goes_on_and_another_model_begins_anew(spec, tmp_path):
    path = tmp_path / "a.drift"
    with DriftMonitor(spec, path) as first:
        notes_of(first, images(700, seed=1))
    again = DriftMonitor(spec, path)
    assert again.shares == first.shares
    other = DriftMonitor(replace(spec, threshold=0.4), path)
    assert other.shares[2].totals == (0, 0)


def test_a_kill_at_any_moment_leaves_a_whole_summary(spec, tmp_path):
    path, seen = tmp_path / "a.drift", 0
    code = f"""
from pathlib import Path
from oddeven.runtime import Classifier
from oddeven.runtime.device import drift
from oddeven.runtime.prediction import Prediction
drift.SAVE_S = 0.0
with Classifier.load("mlp") as classifier:
    monitor = drift.DriftMonitor(classifier.spec, Path({str(path)!r}))
print(flush=True)
while True:
    monitor.add(Prediction("odd", 0.9, {{}}, "", 0.5))
"""
    for kill in range(4):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        while not path.exists():
            time.sleep(0.001)
        time.sleep(0.02 * kill)
        process.kill()
        process.communicate()
        count = read_summary(path).shares[0].totals[0]
        assert count >= max(seen, 1)
        seen = count


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff", "not valid JSON"), (b"{}", "missing"), (b'{"model": "m", "shares": []}', "holds 0 shares"),
     (b'{"model": "m", "shares": [{"name": "a", "low": NaN, "high": 1, "recent": 1}]}', "out of range"),
     (b'{"model": "m", "shares": [{"name": "a", "low": 0, "high": 1, "recent": 1, "history": []}]}', "no history")],
)  # fmt: skip
def test_what_is_no_summary_is_one_sentence(spec, tmp_path, content, words):
    path = tmp_path / "a.drift"
    with pytest.raises(DataError, match="oddeven watch and camera write it"):
        read_summary(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        DriftMonitor(spec, path)


def test_watch_and_camera_keep_the_summary_that_drift_draws(pictures, video, run, tmp_path):
    pictures(60)
    out = tmp_path / "out.csv"
    watch = ("watch", tmp_path / "inbox", "--out", out, "--model", "mlp", "--once")
    for _ in range(2):  # the second time there is nothing new
        assert run(*watch).returncode == 0
    assert read_summary(summary_path(out)).shares[2].totals[0] == 60
    clip, journal, page = video([0, 1, 0, 1], each=10), tmp_path / "c.jsonl", tmp_path / "drift.html"
    done = run("camera", "--source", clip, "--model", "mlp", "--journal", journal, "--drift-every", "0")
    assert done.returncode == 0, done.stderr
    shares = {line["name"]: line for line in map(json.loads, run("drift", journal, "--json").stdout.splitlines())}
    assert shares["odd"]["history"] == [[25, 15], [15, 5]]
    assert shares["odd"]["departed"] is False
    shown = run("drift", journal, "--html", page)
    assert shown.returncode == 0, shown.stderr
    assert "not known yet" in shown.stdout
    assert page.read_text().count("<polyline") == len(shares)


def test_drift_of_a_model_that_has_seen_no_image_says_so(spec, run, tmp_path):
    DriftMonitor(spec, summary_path(tmp_path / "a.csv")).save()
    done = run("drift", tmp_path / "a.csv")
    assert (done.returncode, done.stdout, "no image is counted for mlp " in done.stderr) == (0, "", True)


def test_the_summary_that_cannot_be_saved_does_not_hide_what_ended_the_run(spec, tmp_path):
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "a.drift"
    with pytest.raises(OutputError, match="the journal"), DriftMonitor(spec, nowhere):
        raise OutputError("the journal")
    with pytest.raises(OutputError, match=r"a\.drift"), DriftMonitor(spec, nowhere):
        sys.exit(0)  # as at SIGTERM


def test_a_page_is_not_written_over_a_journal(spec, run, tmp_path):
    journal = tmp_path / "a.csv"
    journal.write_text("rows")
    DriftMonitor(spec, summary_path(journal)).save()
    for command in (("drift", journal), ("score", tmp_path, "--out", tmp_path), ("fleet", "--mqtt", "mqtt://x")):
        done = run(*command, "--html", journal)
        assert (done.returncode, f"{journal}: its name must end in .html." in done.stderr) == (2, True), done.stderr
    assert journal.read_text() == "rows"


def test_drift_of_no_journal_is_one_sentence(run, tmp_path):
    done = run("drift", tmp_path / "none.jsonl")
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)
    assert "none.jsonl.drift" in done.stderr
