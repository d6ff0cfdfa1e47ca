"""What `oddeven serve` costs over a plain uvicorn app that calls the same engine: requests a second and latency.

    python benchmarks/serve.py            # needs wrk (apt-get install wrk) and the extra `serve`; takes six minutes

wrk sends from one thread on the same machine, so both share its cores. The two servers take turns: each row is the
median of 21 rounds of a second, for files of 7 rounds of three, and its ratio the median of as many ratios, with the
lowest and the highest.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from shared import fill_page, jpeg, mnist_test, table

from oddeven.runtime.device.host_info import cpu_name

PORTS = {"oddeven": 8471, "plain": 8472}  # of the two servers
CONNECTIONS = (1, 8, 64)
ROUNDS = {"28x28 pixels": (21, 1), "1 MP JPEG": (7, 3)}  # how many, and the seconds of each
SOAK = 100_000
PLAIN = """
import sys
import numpy as np
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from oddeven.runtime import Classifier

model = Classifier.load("cnn")

async def ready(request):
    return answer(np.frombuffer(await request.body(), np.uint8).reshape(28, 28))

async def file(request):
    return answer(await request.body())

def answer(image):
    prediction = model.predict(image)
    return JSONResponse({"label": prediction.label, "probability": prediction.probability})

app = Starlette(routes=[Route("/ready", ready, methods=["POST"]), Route("/file", file, methods=["POST"])])
"""
SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*all")
{header}
"""
LATENCY = re.compile(r"(50|99)%\s+([\d.]+)(us|ms|s)")
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@contextmanager
def started(server: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of the servers, a Python module with `arguments`, which listens until the body ends."""
    port = PORTS[server]
    command = [sys.executable, "-m", *arguments, "--port", str(port)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with suppress(OSError):
                HTTPConnection("127.0.0.1", port).connect()
                break
            time.sleep(0.1)
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(command)} ended; does another program listen on port {port}?")
        yield process
    finally:
        process.terminate()
        process.wait()


def wrk(server: str, path: str, script: Path, connections: int, seconds: int) -> tuple[float, float, float]:
    """Requests a second, and the median and 99th percentile of latency in milliseconds; no response may be an error."""
    url = f"http://127.0.0.1:{PORTS[server]}{path}"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), "--latency", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(done.stdout)
    found = {share: float(value) * UNITS[unit] for share, value, unit in LATENCY.findall(done.stdout)}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert rate
    return float(rate[1]), found["50"], found["99"]


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024.0


def bodies(folder: Path) -> dict[str, dict[str, tuple[str, Path]]]:
    """For each kind of image and each server, the path to ask and the wrk script that asks it."""
    digit = mnist_test()[0][0]
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], "parameters": {"binary_data_size": 784}}
    outputs = [{"name": "probability"}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    noise = np.random.default_rng(0).normal(0, 6, (1000, 1000))
    photo = np.clip(np.kron(255 - digit, np.ones((36, 36)))[:1000, :1000] * 0.7 + 50 + noise, 0, 255).astype(np.uint8)
    photograph = jpeg(np.repeat(photo[..., np.newaxis], 3, axis=-1), quality=85)
    print(f"JPEG: {len(photograph):,} bytes", file=sys.stderr)

    def script(name: str, body: bytes, header: str = "") -> Path:
        (folder / f"{name}.bin").write_bytes(body)
        path = folder / f"{name}.lua"
        path.write_text(SCRIPT.format(body=folder / f"{name}.bin", header=header))
        return path

    length = f'wrk.headers["Inference-Header-Content-Length"] = "{len(head)}"'
    file = script("file", photograph)
    return {
        "28x28 pixels": {
            "oddeven": ("/v2/models/cnn/infer", script("infer", head + digit.tobytes(), length)),
            "plain": ("/ready", script("ready", digit.tobytes())),
        },
        "1 MP JPEG": {"oddeven": ("/predict", file), "plain": ("/file", file)},
    }


def compared(kind: str, asked: Mapping[str, tuple[str, Path]], connections: int) -> Iterator[tuple[object, ...]]:
    """A row for each server; the two take turns."""
    rounds, seconds = ROUNDS[kind]
    found = [{server: wrk(server, *asked[server], connections, seconds) for server in PORTS} for _ in range(rounds)]
    ratios = sorted(turn["oddeven"][0] / turn["plain"][0] for turn in found)
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    for server in PORTS:
        rate, p50, p99 = map(statistics.median, zip(*(turn[server] for turn in found), strict=True))
        told = ratio if server == "oddeven" else ""
        yield kind, connections, server, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", told


def soaked(process: subprocess.Popen[bytes], path: str, script: Path) -> str:
    """The memory of our server while it answers many more requests."""
    seen, requests = [memory_mb(process)], 0.0
    while requests < SOAK:
        requests += wrk("oddeven", path, script, 64, 5)[0] * 5
        seen.append(memory_mb(process))
    return f"{min(seen):.1f} to {max(seen):.1f} MB over {requests:,.0f} more requests at 64 connections"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain.py").write_text(PLAIN)
        kinds = bodies(folder)
        quiet = ("--no-access-log", "--log-level", "warning")
        with (
            started("oddeven", folder, "oddeven.runtime", "serve", "cnn", *sys.argv[1:]) as ours,
            started("plain", folder, "uvicorn", "plain:app", *quiet),
        ):
            rows = [
                row for kind, asked in kinds.items() for count in CONNECTIONS for row in compared(kind, asked, count)
            ]
            memory = soaked(ours, *kinds["28x28 pixels"]["oddeven"])
    rates = table(("images", "connections", "server", "requests/s", "p50 ms", "p99 ms", "ratio"), rows)
    cost = f"On {cpu_name()}, which wrk shares.\n\n{rates}\n\nThe server's memory: {memory}."
    fill_page("serve.md", {"cost": cost})


if __name__ == "__main__":
    main()
