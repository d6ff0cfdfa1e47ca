"""What one engine answers here, and what it costs; run on a device, or where one is emulated.

    python answers.py OUT.npz ENGINE FEW FOLDER...

Files of 8 bits answer for all reference pictures of their artifact folder, the others for the first FEW.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path


def megabytes(*packages):
    """What the packages take on disk, with the libraries that wheels put beside them."""
    folders = [Path(importlib.import_module(name).__file__).parent for name in packages]
    libraries = [folder.with_name(f"{name}.libs") for folder in folders for name in (folder.name, "pillow")]
    files = {file for folder in (*folders, *libraries) for file in folder.rglob("*") if file.is_file()}
    return sum(file.stat().st_size for file in files) / 1e6


def main(out, engine, few, *folders):
    start = time.perf_counter()
    import numpy as np

    from oddeven.runtime.engines.registry import ENGINES, engine_version

    importlib.import_module(f"oddeven.runtime.engines.{engine.replace('-', '_')}")
    package = ENGINES[engine].package
    importlib.import_module("onnxruntime" if engine == "onnxruntime" else f"{package}.interpreter")
    import_s = time.perf_counter() - start

    from oddeven.runtime.artifacts.reference import REFERENCE, load_reference
    from oddeven.runtime.classifier import Classifier
    from oddeven.runtime.errors import ModelError

    answers = {}
    for folder in map(Path, folders):
        images = load_reference(folder / REFERENCE).images
        for path in sorted(folder.glob(f"*{ENGINES[engine].suffix}")):
            try:
                with Classifier.load(path, engine) as classifier:
                    count = len(images) if classifier.spec.precision == "int8" else int(few)
                    answers[path.name] = classifier.probabilities(images[:count])
            except ModelError as error:
                print(error, file=sys.stderr)
    np.savez(out, **answers)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    costs = {"version": engine_version(engine), "import_s": import_s, "peak_mb": peak_mb}
    print(json.dumps({**costs, "installed_mb": megabytes("numpy", "PIL", "click", package)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
