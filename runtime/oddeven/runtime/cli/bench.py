"""`oddeven bench`."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from oddeven.runtime.artifacts.resolve import PREFERRED, Candidate
from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.options import files_of
from oddeven.runtime.device.benchmark import Cost, benchmark
from oddeven.runtime.device.host_info import host_info
from oddeven.runtime.engines.registry import AUTO, ENGINES, MOST_THREADS
from oddeven.runtime.errors import ModelError
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.table import render

HEADER = ("file", "engine", "bytes", "best us", "p50 us", "p90 us", "p99 us", "first us", "load ms",
          "import ms", "peak MB", "windows")  # fmt: skip


@click.command()
@click.argument("model", required=False)
@click.option("--engine", default=AUTO, show_default=True, help=f"One of {', '.join(ENGINES)}.")
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), default=1, show_default=True)
@click.option(
    "--seconds", type=FiniteRange(min=0.1), default=10.0, show_default=True, help="Measuring time for each file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context, /, model: str | None, engine: str, threads: int, seconds: float, as_json: bool
) -> None:
    """Measure MODEL on this machine: a file, those of an artifact folder, or a bundled name (deep_cnn).

    One ready image at a time, in five windows. `best` is the median of the fastest window, the percentiles are over all
    windows: what the machine sustains. Slower windows are counted: something else ran, or the CPU grew hot.

    A broken file is named, the others are measured, and the exit code is then 4.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    candidates = {file.path: file for file in files_of(model, engine)}
    costs = []
    for path in candidates:
        click.echo(f"{path} ...", err=True)
        try:
            costs.append(benchmark(path, engine, threads, seconds))
        except ModelError as error:
            click.echo(f"oddeven: {error}", err=True)
    if costs:
        _show(costs, candidates, as_json)
    context.exit(0 if len(costs) == len(candidates) else ModelError.exit_code)


def _show(costs: list[Cost], candidates: Mapping[Path, Candidate], as_json: bool) -> None:
    """Print what was measured, and on which machine."""
    machine = host_info()
    if as_json:
        facts = {"machine": dataclasses.asdict(machine), "files": [dataclasses.asdict(cost) for cost in costs]}
        click.echo(json.dumps(facts))
        return
    click.echo(render(HEADER, [_row(cost) for cost in costs]))
    facts = {**dataclasses.asdict(machine), "cpu_features": " ".join(machine.cpu_features)}
    click.echo("\n" + ", ".join(f"{key}: {value}" for key, value in facts.items() if value))
    click.echo(_fastest(costs, candidates))


def _row(cost: Cost) -> tuple[str, ...]:
    latency = cost.latency
    slower = ""
    if latency.slower:
        most = max(latency.windows_us) / latency.best_us - 1
        slower = f"{len(latency.slower)} of {len(latency.windows_us)} slower, by {most:.0%} at most"
    percentiles = (latency.best_us, latency.p50_us, latency.p90_us, latency.p99_us)
    times = (*percentiles, cost.first_us, cost.load_ms, cost.import_ms)
    return (
        cost.file, cost.engine, f"{cost.size_bytes:,}", *(f"{t:.1f}" for t in times), f"{cost.peak_memory_mb:.1f}",
        slower or "even",
    )  # fmt: skip


def _fastest(costs: list[Cost], candidates: Mapping[Path, Candidate]) -> str:
    """Which file is the fastest here of those that passed the gate, and whether it is the one that is taken unasked."""
    if len(costs) == 1:
        return "One file measured; give an artifact folder to compare its files."
    passing = [cost for cost in costs if candidates[Path(cost.file)].verdict == PASS]
    if not passing:
        return "No file here passed the gate when it was exported."
    best = min(passing, key=lambda cost: cost.latency.p50_us)
    fastest = f"Fastest here of the {len(passing)} that passed the gate: {best.file}, {best.latency.p50_us:.1f} us."
    taken = min(passing, key=lambda cost: PREFERRED.index(candidates[Path(cost.file)].precision))
    if taken is best or len({path.parent for path in candidates}) > 1:
        return fastest
    times = taken.latency.p50_us / best.latency.p50_us
    return f"{fastest} Given the folder, oddeven predict takes {taken.file}, which needs {times:.2f} times as long."
