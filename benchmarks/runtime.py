"""What the runtime adds to its engines, and what the alternatives cost; fills docs/runtime.md.

    python benchmarks/runtime.py [--artifacts FOLDER]

All contenders of a table run in turn within one process, so that whatever else the machine does slows them alike.
About five minutes. OpenVINO takes part where it is installed; the artifacts come from `oddeven export
train/models/*.keras`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from shared import MODELS, ROOT, Call, alternate, fill_page, mnist_test, parser, table, versions

from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_name

PACKAGES = ("numpy", "pillow", "ai-edge-litert", "onnxruntime", "openvino", "tensorflow")
TURNS, CALLS = 40, 100
BATCHES = (1, 8, 32, 64, 128, 256, 512, 1024)


def one_image(artifacts: Path, images: np.ndarray) -> Iterator[tuple[object, ...]]:
    """`Classifier.predict` against the bare interpreter, and other ways to answer for one ready image."""
    for model in MODELS:
        contenders = dict(_contenders(artifacts, model, images[0]))
        times = alternate(contenders, TURNS, CALLS)
        base = np.percentile(times["LiteRT, bare"], 50)
        for name, values in times.items():
            p50, p90, p99 = np.percentile(values, (50, 90, 99))
            yield model, name, f"{p50:.1f}", f"{p90:.1f}", f"{p99:.1f}", f"{p50 / base:.2f}"


def _contenders(artifacts: Path, model: str, image: np.ndarray) -> Iterator[tuple[str, Call]]:
    from ai_edge_litert.interpreter import Interpreter

    path = artifacts / model / f"{model}.int8.tflite"
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    ready = image.reshape(1, 28, 28, 1)
    real = ready / np.float32(255)

    def bare() -> object:
        interpreter.set_tensor(source, ready)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    yield "LiteRT, bare", bare
    classifier = Classifier.load(path)
    yield "oddeven, int8 .tflite", partial(classifier.predict, image)
    onnx = Classifier.load(artifacts / model / f"{model}.int8.onnx")
    yield "oddeven, int8 .onnx", partial(onnx.predict, image)
    try:
        import openvino

        compiled = openvino.compile_model(artifacts / model / f"{model}.int8.onnx", "CPU", {"INFERENCE_NUM_THREADS": 1})
        yield "OpenVINO, int8 .onnx", partial(compiled, real)
    except ImportError:
        pass
    import keras

    network = keras.saving.load_model(ROOT / "train" / "models" / f"{model}.keras")
    yield "Keras, model(x)", partial(network, real, training=False)


def many_images(artifacts: Path, images: np.ndarray) -> Iterator[tuple[object, ...]]:
    """`predict_batch` on an array against the best of plain loops over one interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    ready = images[..., np.newaxis]
    for model in MODELS:
        path = artifacts / model / f"{model}.int8.tflite"
        loops, answered = {}, {"ours": len(images)}
        for threads in (1, 2):
            for size in BATCHES:
                interpreter = Interpreter(model_path=str(path), num_threads=threads)
                name = f"batch {size}, threads {threads}"
                loops[name], answered[name] = _loop(interpreter, ready, size), whole(len(ready), size)
        with Classifier.load(path) as classifier:
            ours = {"ours": lambda c=classifier: sum(1 for _ in c.predict_batch(images))}
            times = alternate({**loops, **ours}, 5, 1)
        each = {name: float(np.min(values)) / answered[name] for name, values in times.items()}
        mine = each.pop("ours")
        best = min(each, key=lambda name: each[name])
        yield model, f"{mine:.2f}", f"{each[best]:.2f}", best, f"{mine / each[best]:.2f}"


def _loop(interpreter: Any, ready: np.ndarray, size: int) -> Call:
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, (size, 28, 28, 1))
    interpreter.allocate_tensors()

    def loop() -> None:
        for start in range(0, whole(len(ready), size), size):
            interpreter.set_tensor(source, ready[start : start + size])
            interpreter.invoke()
            interpreter.get_tensor(sink)

    return loop


def whole(count: int, size: int) -> int:
    """How many of `count` images fill batches of `size`; a plain loop answers for these only."""
    return count // size * size


HAND_WRITTEN = """
import sys, numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
pixels = np.asarray(Image.open(sys.argv[2]).convert("L").resize((28, 28)))[None, ..., None]
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
interpreter.invoke()
q = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, 0]
print("odd" if q > 128 else "even", q / 256)
"""


def whole_process(artifacts: Path, images: np.ndarray, folder: Path) -> Iterator[tuple[object, ...]]:
    """`oddeven predict one.png` against a script written by hand, start to end, and their peak memory.

    Both with their imports compiled, as pip leaves them: the first call, which does not count, does it here.
    """
    image, script, oddeven = folder / "one.png", folder / "script.py", Path(sys.executable).with_name("oddeven")
    Image.fromarray(images[0]).save(image)
    script.write_text(HAND_WRITTEN)
    path = artifacts / "mlp" / "mlp.int8.tflite"
    commands = {
        "script by hand": [sys.executable, str(script), str(path), str(image)],
        "oddeven predict": [str(oddeven), "predict", str(image), "--model", str(path)],
    }
    peaks: dict[str, list[float]] = {name: [] for name in commands}
    calls = {name: lambda n=name: peaks[n].append(_peak_mb(commands[n])) for name in commands}
    times = alternate(calls, 20, 1)
    base = np.median(times["script by hand"])
    for name, values in times.items():
        ms = np.median(values)
        yield name, f"{ms / 1000:.0f}", f"{ms / base:.2f}", f"{np.median(peaks[name]):.1f}"


def _peak_mb(command: list[str]) -> float:
    """Run `command`; the largest resident size of that process, in MB."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    starter = [sys.executable, "-S", "-c", code, *command]
    done = subprocess.run(starter, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout) / 1024


def folder_of_files(artifacts: Path, images: np.ndarray, folder: Path) -> Iterator[tuple[object, ...]]:
    """`predict_batch` on 10,000 PNG files against a plain loop of `predict`."""
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    for model in MODELS:
        with Classifier.load(artifacts / model / f"{model}.int8.tflite") as classifier:
            contenders = {
                "loop": lambda c=classifier: [c.predict(path) for path in paths],
                "ours": lambda c=classifier: sum(1 for _ in c.predict_batch(paths)),
            }
            times = {name: float(np.min(t)) / len(paths) for name, t in alternate(contenders, 3, 1).items()}
        yield model, f"{times['loop']:.0f}", f"{times['ours']:.0f}", f"{times['loop'] / times['ours']:.2f}"


def main() -> None:
    """Measure, and write the page's tables."""
    artifacts = parser(__doc__, artifacts=ROOT / "artifacts").parse_args().artifacts
    images, _ = mnist_test()
    with tempfile.TemporaryDirectory() as scratch:
        one_file = whole_process(artifacts, images, Path(scratch))
        files = folder_of_files(artifacts, images, Path(scratch))
        texts = {
            "machine": f"Machine: {cpu_name()}. Python {sys.version.split()[0]}, {versions(PACKAGES)}.",
            "image": table(("model", "contender", "p50", "p90", "p99", "of bare p50"), one_image(artifacts, images)),
            "array": table(("model", "ours", "best loop", "which one", "ratio"), many_images(artifacts, images)),
            "process": table(("contender", "ms", "ratio", "peak MB"), one_file),
            "files": table(("model", "plain loop", "predict_batch", "times as fast"), files),
        }
    fill_page("runtime.md", texts)


if __name__ == "__main__":
    main()
