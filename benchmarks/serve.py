"""What `oddeven serve` costs over a plain uvicorn app that calls the same engine: requests a second and latency.

    python benchmarks/serve.py            # needs wrk (apt-get install wrk) and the extra `serve`; takes six minutes

wrk sends from one thread on the same machine, so both share its cores. The two servers take turns: each row is the
median of 21 rounds of a second, for files of 7 rounds of three, and its ratio the median of as many ratios, with the
lowest and the highest.
"""

from __future__ import annotations

import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from fill_page import fill_page
from PIL import Image

from oddeven.runtime.device.host_info import cpu_name
from oddeven.runtime.table import render

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "serve.md"
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
def started(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens, until the body ends."""
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


def wrk(url: str, script: Path, connections: int, seconds: int) -> tuple[float, float, float]:
    """Requests a second, and the median and 99th percentile of latency in milliseconds; no response may be an error."""
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
    with np.load(ROOT / "train" / "data" / "mnist.npz") as mnist:
        digit = mnist["x_test"][0]
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], "parameters": {"binary_data_size": 784}}
    outputs = [{"name": "probability"}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    noise = np.random.default_rng(0).normal(0, 6, (1000, 1000))
    photo = np.clip(np.kron(255 - digit, np.ones((36, 36)))[:1000, :1000] * 0.7 + 50 + noise, 0, 255).astype(np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(photo).convert("RGB").save(jpeg, "JPEG", quality=85)
    print(f"JPEG: {len(jpeg.getvalue()):,} bytes", file=sys.stderr)

    def script(name: str, body: bytes, header: str = "") -> Path:
        (folder / f"{name}.bin").write_bytes(body)
        path = folder / f"{name}.lua"
        path.write_text(SCRIPT.format(body=folder / f"{name}.bin", header=header))
        return path

    length = f'wrk.headers["Inference-Header-Content-Length"] = "{len(head)}"'
    file = script("file", jpeg.getvalue())
    return {
        "28x28 pixels": {
            "oddeven": ("/v2/models/cnn/infer", script("infer", head + digit.tobytes(), length)),
            "plain": ("/ready", script("ready", digit.tobytes())),
        },
        "1 MP JPEG": {"oddeven": ("/predict", file), "plain": ("/file", file)},
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain.py").write_text(PLAIN)
        kinds = bodies(folder)
        commands = {
            "oddeven": [sys.executable, "-m", "oddeven.runtime", "serve", "cnn", "--port", "8471", *sys.argv[1:]],
            "plain": [sys.executable, "-m", "uvicorn", "plain:app", "--port", "8472", "--no-access-log",
                      "--log-level", "warning"],
        }  # fmt: skip
        ports = {"oddeven": 8471, "plain": 8472}
        with started(commands["oddeven"], 8471, folder) as ours, started(commands["plain"], 8472, folder):
            rows = []
            for kind, asked in kinds.items():
                rounds, seconds = ROUNDS[kind]
                for connections in CONNECTIONS:
                    found: dict[str, list[tuple[float, float, float]]] = {server: [] for server in ports}
                    for _ in range(rounds):
                        for server, port in ports.items():
                            path, script = asked[server]
                            found[server].append(wrk(f"http://127.0.0.1:{port}{path}", script, connections, seconds))
                    rates = zip(*([round_[0] for round_ in found[server]] for server in ports), strict=True)
                    ratios = sorted(ours_ / plain for ours_, plain in rates)
                    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                    for server, columns in found.items():
                        rate, p50, p99 = map(statistics.median, zip(*columns, strict=True))
                        rows.append((kind, connections, server, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}",
                                     ratio if server == "oddeven" else ""))  # fmt: skip
            path, script = kinds["28x28 pixels"]["oddeven"]
            url, seen = f"http://127.0.0.1:8471{path}", [memory_mb(ours)]
            requests = 0.0
            while requests < SOAK:
                requests += wrk(url, script, 64, 5)[0] * 5
                seen.append(memory_mb(ours))
    table = render(("images", "connections", "server", "requests/s", "p50 ms", "p99 ms", "ratio"), rows, markdown=True)
    memory = f"{min(seen):.1f} to {max(seen):.1f} MB over {requests:,.0f} more requests at 64 connections"
    fill_page(PAGE, {"cost": f"On {cpu_name()}, which wrk shares.\n\n{table}\n\nThe server's memory: {memory}."})


if __name__ == "__main__":
    main()
