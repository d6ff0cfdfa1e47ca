"""`oddeven bench`: that it measures, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from oddeven.runtime.artifacts import resolve as resolving
from oddeven.runtime.artifacts.resolve import Candidate
from oddeven.runtime.cli.bench import _fastest
from oddeven.runtime.cli.main import cli
from oddeven.runtime.device import latency as latencies
from oddeven.runtime.device.benchmark import Cost
from oddeven.runtime.device.latency import WINDOWS, Latency, measure
from oddeven.runtime.errors import ModelError
from oddeven.runtime.parity.check import PASS


def test_it_reports_every_file_of_a_folder_and_the_machine(run, exported):
    done = run("bench", exported, "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["files"]) == 8
    assert "cores" in result["machine"]["cpu"]
    for cost in result["files"]:
        latency = cost["latency"]
        assert 0 < latency["best_us"] == min(latency["windows_us"])
        assert latency["p50_us"] <= latency["p90_us"] <= latency["p99_us"]
        assert min(cost["import_ms"], cost["load_ms"], cost["first_us"], cost["peak_memory_mb"]) > 0


def test_one_file_is_a_table(run):
    done = run("bench", "mlp", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert "mlp.int8.tflite" in done.stdout


def test_sigterm_ends_the_process_that_measures_too():
    command = [sys.executable, "-m", "oddeven.runtime", "bench", "mlp", "--seconds", "60"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert "mlp" in process.stderr.readline()
    time.sleep(1.5)
    process.terminate()
    process.communicate(timeout=20)  # until nobody can write to stderr any more
    assert process.returncode == 143


def test_a_slow_window_is_marked_and_counts():
    calls = iter(range(10**6))

    def call():  # each lasts longer than a window, so that a window is one call; the first 20 warm up
        time.sleep(0.05 if next(calls) == 20 + 2 else 0.005)

    latency = measure(call, 0.005 * WINDOWS)
    assert latency.windows_us[2] > 50_000
    assert 2 in latency.slower
    assert latency.p99_us > 50_000
    assert latency.best_us < 50_000


def test_a_cpu_that_throttles_is_seen_in_the_sustained_figure(monkeypatch):
    clock = [0]
    monkeypatch.setattr(latencies, "time", SimpleNamespace(perf_counter_ns=lambda: clock[0]))

    def call():  # 1 us while it is cool, in the first two of five windows of 100 us, then 4 us
        clock[0] += 1_000 if clock[0] < 220_000 else 4_000

    latency = measure(call, 500e-6)
    assert latency.windows_us == (1.0, 1.0, 4.0, 4.0, 4.0)
    assert latency.slower == (2, 3, 4)
    # There are 200 fast calls and 75 slow ones, but most of the time it is slow.
    assert (latency.best_us, latency.p50_us) == (1.0, 4.0)


def test_the_table_says_how_many_windows_were_slower(monkeypatch):
    latency = Latency(10.0, 13.0, 14.0, 15.0, (10.0, 10.5, 13.0, 13.0, 13.8), (2, 3, 4))
    cost = Cost("x.int8.tflite", "litert 2", 1000, 1.0, 1.0, 1.0, latency, 30.0)
    monkeypatch.setattr("oddeven.runtime.cli.bench.benchmark", lambda *given: cost)
    done = CliRunner().invoke(cli, ["bench", "mlp"])
    assert done.exit_code == 0, done.output
    assert "3 of 5 slower, by 38% at most" in done.output
    for figure in ("best us", "10.0", "13.0"):
        assert figure in done.output


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """`oddeven bench` of a folder with two files of TFLite and one of ONNX, of which `broken` ones are not measured."""
    for name in ("a.tflite", "b.onnx", "c.tflite"):
        (tmp_path / name).touch()

    def measure_one(path, *_):
        if path.name in broken:
            raise ModelError(f"{path} is broken.")
        return Cost(path.name, "litert 2", 1000, 1.0, 1.0, 1.0, Latency(10.0, 10.0, 10.0, 10.0, (10.0,), ()), 30.0)

    broken = []
    monkeypatch.setattr("oddeven.runtime.cli.bench.benchmark", measure_one)

    def run(*options, without=()):
        broken[:] = without
        return CliRunner().invoke(cli, ["bench", str(tmp_path), *options])

    return run


def test_a_broken_file_does_not_stop_the_others(bench):
    done = bench("--json", "--engine", "litert", without=["a.tflite"])
    assert (done.exit_code, "a.tflite is broken." in done.stderr) == (4, True)
    assert [cost["file"] for cost in json.loads(done.stdout)["files"]] == ["c.tflite"]
    done = bench("--json", "--engine", "litert", without=["a.tflite", "c.tflite"])
    assert (done.exit_code, done.stdout, done.stderr.count("is broken.")) == (4, "", 2)


def test_a_file_that_the_named_engine_does_not_read_does_not_stop_the_others(bench, tmp_path):
    done = bench("--json", "--engine", "litert")
    assert done.exit_code == 0, done.stderr
    assert [cost["file"] for cost in json.loads(done.stdout)["files"]] == ["a.tflite", "c.tflite"]
    assert f"left out, since litert does not read them: {tmp_path / 'b.onnx'}\n" in done.stderr
    assert "holds no model file that the engine c reads" in str(bench("--engine", "c").exception)
    assert "known are litert" in str(bench("--engine", "lite").exception)


def test_a_file_that_no_engine_reads_here_does_not_stop_the_others(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(resolving, "automatic", lambda path: ["litert"] if path.suffix == ".tflite" else [])
    done = bench("--json")
    assert done.exit_code == 0, done.output
    assert [cost["file"] for cost in json.loads(done.stdout)["files"]] == ["a.tflite", "c.tflite"]
    assert f"left out, since no engine reads them here unasked: {tmp_path / 'b.onnx'}" in done.output


@pytest.mark.parametrize(("int8_us", "says"), [(20.0, False), (137.0, True)])
def test_it_says_where_the_file_that_is_taken_unasked_is_not_the_fastest(int8_us, says):
    times = {"cnn.int8.tflite": int8_us, "cnn.float32.tflite": 87.0, "cnn.float16.tflite": 10.0}
    costs = [
        Cost(name, "litert 2", 1000, 1.0, 1.0, 1.0, Latency(us, us, us, us, (us,), ()), 30.0)
        for name, us in times.items()
    ]
    verdicts = dict(zip(times, (PASS, PASS, "FAIL"), strict=True))
    known = {Path(name): Candidate(Path(name), name.split(".")[1], verdicts[name]) for name in times}
    sentence = _fastest(costs, known)
    assert f"Fastest here of the 2 that passed the gate: {'cnn.float32' if says else 'cnn.int8'}.tflite" in sentence
    assert ("predict takes cnn.int8.tflite, which needs 1.57 times as long" in sentence) is says
