"""How long the gate takes: the shipped models in all default formats, on 10,000 images each.

    python benchmarks/verify.py --artifacts artifacts

The artifacts come from `oddeven export train/models/*.keras`. The target is 20 seconds on two cores.
"""

from __future__ import annotations

import subprocess
import sys
import time

from shared import ROOT, parser

from oddeven.runtime.device.host_info import cpu_name

TURNS = 3

if __name__ == "__main__":
    options = parser(__doc__, artifacts=ROOT / "artifacts").parse_args()
    command = [sys.executable, "-m", "oddeven.runtime", "verify", str(options.artifacts)]
    seconds = []
    for _ in range(TURNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    print(f"oddeven verify: {min(seconds):.1f} to {max(seconds):.1f} s in {TURNS} runs on {cpu_name()}")
