"""What the shipped models find unknown: fill the tables of docs/unknown.md, and draw its ROC curves and gallery.

    apt-get install dataset-fashion-mnist fonts-breip fonts-dkg-handwriting fonts-femkeklaver fonts-klee fonts-kristi \\
        fonts-rufscript fonts-humor-sans fonts-dancingscript fonts-kaushanscript
    pip install scikit-image
    python benchmarks/unknown.py    # about ten minutes on two cores

`--root FOLDER` takes the Debian packages from where they were unpacked.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from handwriting import photographs
from PIL import Image, ImageDraw, ImageFont
from shared import DOCS, MODELS, ROOT, fill_page, parser, table

from oddeven.export.calibration import draw_calibration
from oddeven.export.conversion import Conversion, first_output
from oddeven.export.formats import FORMATS
from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.arrays import Pixels
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.device.host_info import cpu_name
from oddeven.runtime.device.latency import measure
from oddeven.runtime.errors import BlankError
from oddeven.runtime.images.preprocess import prepare, to_float
from oddeven.runtime.parity.metrics import auc, calibration_error
from oddeven.train.data.dataset import Dataset
from oddeven.train.data.registry import load_dataset

LETTERS = "acdefhjkmnprtuvwxy"  # those left out are digits in disguise
FONTS = ("breip", "dkg", "femkeklaver", "Klee", "Kristi", "Rufscript", "Humor", "Dancing", "Kaushan")
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "hubble", "ihc",
               "moon", "motorcycle_left", "retina", "rocket")  # fmt: skip
MIRRORED = ("2", "3", "4", "5", "6", "7", "9")
KNOWN = ("test", "UCI digits as photographs")
COUNT = 500
Random = np.random.Generator


def unknown_sets(data: Dataset, root: Path) -> dict[str, Pixels]:
    """Images of what the models were not made for, uint8 (N, 28, 28, 1), by name."""
    random, test = np.random.default_rng(0), data.test

    def prepared(images: Iterator[Any]) -> Pixels:
        ready = []
        for image in images:
            try:
                ready.append(prepare(np.asarray(image, np.uint8).reshape(*image.shape[:2], 1), data.input))
            except BlankError:
                continue
        return np.stack(ready)

    pixels = random.integers(0, 256, (COUNT, 28, 28, 1)).astype(np.uint8)
    mirrored = np.isin(test.slices[:1500], MIRRORED)
    return {
        "clothes (Fashion-MNIST)": _fashion(root)[:2000],
        "uniform noise": pixels,
        "Gaussian noise": np.clip(random.normal(127, 60, pixels.shape), 0, 255).astype(np.uint8),
        "blank with dirt": np.stack([_dirt(random) for _ in range(COUNT)]),
        "stripes": np.stack([_stripes(random) for _ in range(COUNT)]),
        "letters": prepared(_drawn(LETTERS, root)),
        "kana and kanji": prepared(_drawn([chr(c) for c in (*range(0x3042, 0x3094), *range(0x65E5, 0x6600))], root)),
        "two digits side by side": prepared(_pairs(test.images, random)),
        "photographs": prepared(_photographs(random)),
        "digits on their side": np.rot90(test.images[:1000], 1, (1, 2)),
        "2 to 7 and 9, mirrored": test.images[:1500][mirrored][:, :, ::-1],
        "negatives": 255 - test.images[:COUNT],
    }


def _fashion(root: Path) -> Pixels:
    path = root / "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
    images: Pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return images


def _dirt(random: Random) -> Pixels:
    (y, x), sheet = np.mgrid[:28, :28], random.normal(0, 6, (28, 28))
    for _ in range(random.integers(1, 6)):
        (b, a), radius = random.uniform(0, 28, 2), random.uniform(0.5, 2.0)
        sheet = np.maximum(sheet, random.uniform(80, 255) * ((y - b) ** 2 + (x - a) ** 2 < radius**2))
    return np.clip(sheet, 0, 255).astype(np.uint8)[..., None]


def _stripes(random: Random) -> Pixels:
    (y, x), angle = np.mgrid[:28, :28], random.uniform(0, np.pi)
    wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * random.uniform(0.3, 2.5) + random.uniform(0, 6))
    stripes: Pixels = (127.5 + 127.5 * (np.sign(wave) if random.random() < 0.5 else wave)).astype(np.uint8)[..., None]
    return stripes


def _drawn(signs: Any, root: Path) -> Iterator[Any]:
    """Each sign in each of the handwriting fonts that has it."""
    folder = root / "usr/share/fonts"
    for path in sorted(path for path in folder.rglob("*.[ot]tf") if path.name.startswith(FONTS)):
        font = ImageFont.truetype(str(path), 60)
        missing = list(font.getmask("\uffff"))
        for sign in signs:
            if list(font.getmask(sign)) == missing:
                continue
            sheet = Image.new("L", (160, 160))
            ImageDraw.Draw(sheet).text((80, 80), sign, fill=255, font=font, anchor="mm")
            if np.asarray(sheet).max() > 100:
                yield np.asarray(sheet)


def _pairs(digits: Pixels, random: Random) -> Iterator[Any]:
    for _ in range(COUNT):
        sheet, (a, b) = np.zeros((44, 80), np.uint8), random.integers(0, len(digits), 2)
        start = 36 + random.integers(-4, 4)
        sheet[8:36, 8:36] = digits[a, ..., 0]
        sheet[8:36, start : start + 28] = np.maximum(sheet[8:36, start : start + 28], digits[b, ..., 0])
        yield sheet


def _photographs(random: Random) -> Iterator[Any]:
    """Square parts of the photographs that scikit-image and scikit-learn carry."""
    folders = [Path(str(spec.origin)).parent for name in ("skimage", "sklearn") if (spec := find_spec(name))]
    paths = [p for folder in folders for p in sorted(folder.rglob("*.[pj][np]g")) if p.stem.startswith(PHOTOGRAPHS)
             or p.stem in ("china", "flower")]  # fmt: skip
    images = [np.asarray(Image.open(path).convert("L")) for path in paths]
    for _ in range(COUNT):
        image = images[random.integers(len(images))]
        side = int(random.integers(60, min(image.shape) + 1))
        y, x = (int(random.integers(0, most - side + 1)) for most in image.shape)
        yield image[y : y + side, x : x + side]


def cost(model: str, data: Dataset, folder: Path) -> tuple[str, ...]:
    """A row: bytes and microseconds of the int8 file without and with the second output."""
    keras_model, spec = load_keras_model(ROOT / "train" / "models" / f"{model}.keras")
    images, _ = draw_calibration(data)
    paths = [folder / f"{model}.{name}.int8.tflite" for name in ("without", "with")]
    for path, own in zip(paths, (first_output(keras_model, spec), (keras_model, spec)), strict=True):
        path.write_bytes(FORMATS["tflite-int8"].convert(Conversion(*own, to_float(images, spec.input))))
    sizes, times = [path.stat().st_size for path in paths], [float("inf")] * 2
    with Classifier.load(paths[0]) as one, Classifier.load(paths[1]) as other:
        for _ in range(10):  # in turns, so that both see the machine alike
            for place, classifier in enumerate((one, other)):
                call = partial(classifier.engine.invoke, classifier.encode(images[:1]))
                times[place] = min(times[place], measure(call, 0.5).best_us)
    return (model, f"{sizes[0]:,}", f"{sizes[1]:,}", f"{sizes[1] / sizes[0]:.3f}", f"{times[0]:.1f}",
            f"{times[1]:.1f}", f"{times[1] / times[0]:.3f}")  # fmt: skip


def curves(scores: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """ROC curves of each model: the share of unknown images refused against the share of test images refused."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    axes = figure.subplots(1, len(scores), sharey=True)
    for axis, (model, own) in zip(axes, scores.items(), strict=True):
        for number, name in enumerate(list(own)[len(KNOWN) :]):
            limits = np.quantile(own["test"], np.linspace(0, 1, 1001))
            refused = [[float((own[key] < limit).mean()) for limit in limits] for key in ("test", name)]
            axis.plot(*refused, label=name, color=mpl.colormaps["tab20"](number))
        axis.axvline(0.01, color="grey", linewidth=0.8)
        axis.set(title=model, xlabel="test images refused", xscale="log", xlim=(1e-3, 1), ylim=(0, 1.01))
    axes[0].set_ylabel("unknown images refused")
    axes[-1].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)


def gallery(sets: Mapping[str, Pixels], known: Mapping[str, Any], least: float, path: Path) -> None:
    """Twelve refused and twelve accepted images of each set, and the refused test images, a row each."""
    shown, side, text = 12, 28 * 2, 190
    sheet = Image.new("L", (text + (2 * shown + 1) * (side + 4), 24 + len(sets) * (side + 4)), 255)
    draw = ImageDraw.Draw(sheet)
    draw.text((text, 6), "refused", fill=0)
    draw.text((text + (shown + 1) * (side + 4), 6), "slipped through, the most familiar first", fill=0)
    for row, (name, images) in enumerate(sets.items()):
        top, order = 24 + row * (side + 4), np.argsort(known[name], kind="stable")
        draw.text((4, top + side // 2 - 6), name, fill=0)
        refused = [i for i in order if known[name][i] < least]
        slipped = [i for i in order[::-1] if known[name][i] >= least]
        picked = refused[:: max(1, len(refused) // shown)][:shown]
        for start, chosen in ((0, picked), (shown + 1, slipped[:shown])):
            for place, index in enumerate(chosen):
                tile = Image.fromarray(images[index, ..., 0]).resize((side, side), Image.Resampling.NEAREST)
                sheet.paste(tile, (text + (start + place) * (side + 4), top))
    sheet.save(path, optimize=True)


def main() -> None:
    """Measure, and write the page."""
    data = load_dataset("mnist")
    sets = unknown_sets(data, parser(__doc__, root=Path("/")).parse_args().root)
    others = np.stack([prepare(picture[..., np.newaxis], data.input) for picture in photographs()])
    scores: dict[str, dict[str, Any]] = {}
    calibrated = []
    for model in MODELS:
        with Classifier.load(model) as classifier:
            p, familiarities = classifier.scores(data.test.images)
            calibrated.append((model, f"{calibration_error(p, data.test.labels):.4f}"))
            scores[model] = dict(zip(KNOWN, (familiarities, classifier.scores(others)[1]), strict=True))
            scores[model] |= {name: classifier.scores(images)[1] for name, images in sets.items()}
            least = classifier.spec.min_familiarity
    rows = [
        (name, f"{len(scores[MODELS[0]][name]):,}",
         *(_cell(scores[model], name, least) for model in MODELS))
        for name in scores[MODELS[0]]
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        costs = [cost(model, data, Path(folder)) for model in MODELS]
    header = ("model", "bytes without", "with", "ratio", "µs without", "with", "ratio")
    tables = {
        "refused": table(("images", "count", *MODELS), rows),
        "cost": table(header, costs),
        "calibration": table(("int8 file", "calibration error"), calibrated),
        "machine": f"Measured on {cpu_name()}.",
    }
    fill_page("unknown.md", tables)
    curves(scores, DOCS / "images" / "unknown-roc.png")
    gallery(sets, scores["deep_cnn"], least, DOCS / "images" / "unknown-gallery.png")
    print(json.dumps({name: content.splitlines() for name, content in tables.items()}, indent=1))


def _cell(own: Mapping[str, Any], name: str, least: float) -> str:
    refused = f"{(own[name] < least).mean():.1%}"
    if name in KNOWN:
        return refused
    known = np.concatenate([own["test"], own[name]])
    labels = np.repeat([1, 0], [len(own["test"]), len(own[name])]).astype(np.uint8)
    return f"{refused} [{auc(known, labels):.3f}]"


if __name__ == "__main__":
    main()
