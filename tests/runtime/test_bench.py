"""`oddeven bench`: that it measures, not how fast anything is."""

from __future__ import annotations

import json
import time

from oddeven.runtime.latency import WINDOWS, measure


def test_it_reports_every_file_of_a_folder_and_the_machine(run, exported):
    done = run("bench", exported, "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["files"]) == 8
    assert "cores" in result["machine"]["cpu"]
    for cost in result["files"]:
        latency = cost["latency"]
        assert 0 < latency["p50_us"] <= latency["p90_us"] <= latency["p99_us"]
        assert min(cost["import_ms"], cost["load_ms"], cost["first_us"], cost["peak_memory_mb"]) > 0


def test_one_file_is_a_table(run):
    done = run("bench", "mlp", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert "mlp.int8.tflite" in done.stdout


def test_a_polluted_window_is_marked_and_left_out():
    calls = iter(range(10**6))

    def call():  # each lasts longer than a window, so that a window is one call; the first 20 warm up
        time.sleep(0.05 if next(calls) == 20 + 2 else 0.005)

    latency = measure(call, 0.005 * WINDOWS)
    assert latency.windows_us[2] > 50_000
    assert 2 in latency.polluted
    assert latency.p99_us < 50_000
