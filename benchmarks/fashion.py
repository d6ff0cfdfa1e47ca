"""Real photographs of clothes: train, export and verify three questions of Fashion-MNIST, and write docs/fashion.md.

    apt-get install dataset-fashion-mnist
    python benchmarks/fashion.py

About half an hour on two cores. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from oddeven.runtime import artifact, reference
from oddeven.runtime.latency import machine
from oddeven.runtime.table import render

ROOT = Path(__file__).parents[1]
SOURCE = Path("/usr/share/datasets/fashion-mnist")
FILES = {"train": "train", "test": "t10k"}
REST = -1


@dataclass(frozen=True)
class Question:
    """Two folders of pictures by label, each of one of the dataset's classes or of all the others.

    Attributes:
        classes: from label to class.
        positive: the label that is 1.
        accuracy, recall: least ones wanted on the test split.
    """

    classes: dict[str, int]
    positive: str
    accuracy: float
    recall: float = 0.0


QUESTIONS = {
    "sneaker-boot": Question({"ankle-boot": 9, "sneaker": 7}, "sneaker", 0.975),
    "bag-rest": Question({"bag": 8, "rest": REST}, "bag", 0.993, 0.97),
    "shirt-tshirt": Question({"shirt": 6, "tshirt": 0}, "shirt", 0.88),
}


def write_pictures(question: Question, folder: Path) -> None:
    """The question's pictures as `folder`/split/label/number.png."""
    for split, name in FILES.items():
        pixels, labels = (_read(SOURCE / f"{name}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
        for label, own in question.classes.items():
            others = [number for number in question.classes.values() if number != REST]
            chosen = np.flatnonzero(~np.isin(labels, others) if own == REST else labels == own)
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for number in chosen:
                Image.fromarray(pixels[number]).save(folder / split / label / f"{number:05}.png")


def _read(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, the type 8 for uint8, the number of dimensions, each dimension, the values."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def run(name: str, folder: Path) -> None:
    """Train and export what is not yet."""
    pictures = folder / name / "pictures"
    if not pictures.is_dir():
        partial = pictures.with_name("partial")
        write_pictures(QUESTIONS[name], partial)
        partial.rename(pictures)
    runs, artifacts = folder / name / "runs", folder / name / "artifacts"
    wanted = ["--channels", "1", "--image-size", "28", "--positive", QUESTIONS[name].positive]
    _oddeven("train", "--data", pictures, *wanted, "--out", runs)
    if not (artifacts / "parity.json").is_file():
        _oddeven("export", *sorted(runs.glob("*/[!.]*.keras")), "--out", artifacts, verdicts=True)


def _oddeven(*arguments: object, verdicts: bool = False) -> None:
    done = subprocess.run([sys.executable, "-m", "oddeven.runtime", *map(str, arguments)], check=False)
    if done.returncode not in ({0, 1} if verdicts else {0}):
        sys.exit(done.returncode)


def rows(name: str, folder: Path) -> Iterator[tuple[object, ...]]:
    question = QUESTIONS[name]
    for model in ("mlp", "cnn", "deep_cnn"):
        made = folder / name / "artifacts" / model
        manifest, known = artifact.load_manifest(made), reference.load(made / reference.FILE)
        answers = known.probabilities > manifest.spec.threshold
        accuracy, recall = np.mean(answers == known.labels), np.mean(answers[known.labels == 1])
        history = json.loads((folder / name / "runs" / model / "history.json").read_text())["history"]
        met = "yes" if accuracy >= question.accuracy and recall >= question.recall else "no"
        yield (
            name, model, f"{accuracy:.4f}", f"{question.accuracy:.3f}", f"{recall:.4f}",
            f"{question.recall:.2f}" if question.recall else "-", met, f"{sum(history['seconds']):.0f}",
            *(f"{file.parity.drop_pp:+.2f} pp, {file.parity.agreement:.2%}, {file.parity.verdict}"
              for file in manifest.files if file.precision == "int8"),
        )  # fmt: skip


def page(folder: Path) -> str:
    """docs/fashion.md as text."""
    header = ("question", "model", "accuracy", "bar", "recall", "bar ", "met", "seconds",
              "int8 TFLite: drop, agreement", "int8 ONNX: drop, agreement")  # fmt: skip
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return f"""# Real photographs: Fashion-MNIST

Made by `python benchmarks/fashion.py` from Debian's package `dataset-fashion-mnist`: photographs of articles from a
shop, 28x28 grey, as folders of PNG files. 60,000 train and validate, 10,000 test. The recipe is `fast` as
`oddeven train --data` fits it to a picture set, seed 0; every option is a default but
`--channels 1 --image-size 28 --positive`. The test pictures are looked at once a run. `bag-rest` is uneven, 1 to 9. The
verdicts are those of the default parity policy.

Machine: {machine()}, shared with other work, so the seconds say little. {versions}.

{render(header, [row for name in QUESTIONS for row in rows(name, folder)], markdown=True)}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fashion")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "fashion.md")
    options = parser.parse_args()
    for wanted in QUESTIONS:
        run(wanted, options.folder)
    options.out.write_text(page(options.folder))
