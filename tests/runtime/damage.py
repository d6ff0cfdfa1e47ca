"""Change random bytes of a model file, many times over, and use each result in a process of its own.

    python tests/runtime/damage.py MODEL COUNT FOLDER

Prints as JSON how often what came of it; keeps the files that crashed the process in FOLDER, and the traceback of
each error that is not ours.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import SEAL, read_spec
from oddeven.runtime.errors import OddEvenError

EDGE = 6000  # bytes at either end, where the structure of a model file is; between lie the weights
PIXELS = np.eye(28, dtype=np.uint8) * 255


def bare(path: Path) -> bytes:
    """The model without spec and seal."""
    content = path.read_bytes()
    return content[: content.rindex(SEAL)] if path.suffix == ".onnx" else content[: content.index(b"PK\3\4")]


def damaged(content: bytes, number: int) -> bytes:
    random = np.random.default_rng(number)
    changed = bytearray(content)
    for _ in range(random.integers(1, 5)):
        start = random.choice([0, len(content) - EDGE, random.integers(0, len(content) - EDGE)])
        changed[start + random.integers(0, EDGE)] = random.integers(0, 256)
    return bytes(changed)


def use(path: Path) -> str:
    """Open the model and ask it one by one and in a batch."""
    try:
        with Classifier.load(path, spec=read_spec(bundled()["mlp"])) as classifier:
            classifier.predict(PIXELS)
            list(classifier.predict_batch([PIXELS] * 3))
    except OddEvenError:
        return "refused"
    return "answered"


def outcome(path: Path) -> str:
    """What `use` gives in a child; the name of the signal that ended it, or `foreign` for an error that is not ours."""
    names = ["answered", "refused", "foreign"]
    child = os.fork()
    if not child:
        code = 2
        try:
            sys.stdout.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = names.index(use(path))
        except BaseException:  # SystemExit too: the test shows whatever was raised
            path.with_suffix(".txt").write_text(traceback.format_exc())
        finally:  # the child must never go on as the parent does
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else names[os.WEXITSTATUS(status)]


def main(model: Path, count: int, folder: Path) -> None:
    content = bare(model)
    counts: collections.Counter[str] = collections.Counter()
    for number in range(count):
        path = folder / f"{number}{model.suffix}"
        path.write_bytes(damaged(content, number))
        found = outcome(path)
        counts[found] += 1
        if found in ("answered", "refused"):
            path.unlink()
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
