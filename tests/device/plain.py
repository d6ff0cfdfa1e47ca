"""What a plain onnxruntime session, without any option of ours, answers; run on any CPU that is emulated.

    python plain.py OUT.npz FILE.onnx...

Each file's input, float32, lies beside it as FILE.onnx.npy.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

BATCH = 100


def main(out, *paths):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found = {}
    for path in paths:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (source,), batches = session.get_inputs(), np.load(f"{path}.npy")
        batches = np.split(batches, range(BATCH, len(batches), BATCH))
        found[path] = np.concatenate([session.run(None, {source.name: batch})[0] for batch in batches])
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
