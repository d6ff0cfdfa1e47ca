"""`oddeven score --cluster`: what a node does, what is refused, and three nodes of which one is killed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import pytest
from conftest import benchmark

from oddeven.runtime.archive.blocks import blocks_of
from oddeven.runtime.archive.cluster import _part, connected
from oddeven.runtime.archive.score import Run
from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.errors import DataError, MissingPackageError, UsageError

pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("fsspec")

SHARD, SHARDS = 2000, 12  # images in one: long enough for a node to be killed over it
TIMEOUT_S = 900
QUIET = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
NODES = """
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}  # bytes; Ray refuses less than 75 million
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
victim, other = cluster.add_node(**node), cluster.add_node(**node)
print(cluster.address, flush=True)
if input() == "kill":
    cluster.remove_node(victim, allow_graceful=False)
    print("killed", flush=True)
    input()
cluster.shutdown()
"""
STARTS = 5  # Ray waits 15 seconds for a node's own processes, which is short where much else runs


@pytest.fixture
def shards(tmp_path):
    """A function that writes shards of MNIST, of which the first breaks off."""

    def write(count, size):
        folder = tmp_path / "shards"
        benchmark("archive").write_shards(folder, count, size)
        first = min(folder.iterdir())
        first.write_bytes(first.read_bytes()[: first.stat().st_size // 2 + 300])
        return folder

    return write


def rows(out):
    """The rows of each file, by its name."""
    return {path.name: pq.read_table(path).to_pylist() for path in out.glob("part-*.parquet")}


def test_a_node_predicts_what_one_machine_does(shards, run, tmp_path):
    source, out = shards(300, 150), tmp_path / "out"
    assert run("score", source, "--out", out, "--model", "mlp").returncode == DataError.exit_code
    expected = list(rows(out).values())
    model = locate("mlp")
    made_by = Run("mlp", expected[0][0]["model_sha256"], "")
    found = []
    for block in blocks_of(str(source)):
        part, count = _part(block, model.name, model.read_bytes(), {"engine": "auto"}, made_by)
        found.append(pq.read_table(io.BytesIO(part)).to_pylist())
        assert count == len(found[-1])
    assert len(found) == len(expected) == 2
    assert all(part in expected for part in found)


def test_a_node_that_does_not_have_the_archive_says_so(shards):
    source = shards(10, 10)
    (block,) = blocks_of(str(source))
    (source / "000000000.tar").unlink()
    with pytest.raises(DataError, match="every node"):
        _part(block, "mlp.tflite", b"", {}, Run("mlp", "", ""))


def test_without_ray_the_line_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'oddeven\[cluster\]'"), connected("auto"):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "", "ray://127.0.0.1:1"])
def test_an_address_where_no_cluster_answers_is_refused(address):
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="No Ray cluster answers"), connected(address):
        pass


@pytest.fixture
def cluster():
    """Three nodes, as a process that kills one of them when it is told so, and their address."""
    pytest.importorskip("ray")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    for _ in range(STARTS):
        with subprocess.Popen([sys.executable, "-c", NODES], env=QUIET, **pipes) as process:
            if address := process.stdout.readline().strip():
                yield process, address
                process.communicate("end\n", timeout=TIMEOUT_S)
                return
    pytest.fail("Ray's nodes do not start here.")


@pytest.mark.slow
def test_a_node_that_is_killed_loses_nothing(shards, cluster, run, tmp_path):
    source, here, there = shards(SHARD * SHARDS, SHARD), tmp_path / "here", tmp_path / "there"
    arguments = ["score", source, "--model", "mlp", "--json"]
    alone = run(*arguments, "--out", here)
    nodes, address = cluster
    command = [sys.executable, "-m", "oddeven.runtime", *arguments, "--out", there, "--cluster", address]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(rows(there)) < 2:
        time.sleep(0.01)
    nodes.stdin.write("kill\n")
    assert nodes.stdout.readline() == "killed\n"
    assert 0 < len(rows(there)) < SHARDS
    printed, said = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, printed) == (alone.returncode, alone.stdout), said
    assert process.returncode == DataError.exit_code
    assert rows(there) == rows(here)
    assert len(rows(here)) == SHARDS
