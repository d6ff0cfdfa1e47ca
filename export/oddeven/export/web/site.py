"""A folder that any static host serves, in which the model files themselves run in the visitor's browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.runtime.artifacts.resolve import locate
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.quantization import range_gap
from oddeven.runtime.errors import MissingPackageError, UsageError
from oddeven.runtime.files import write
from oddeven.runtime.images.preprocess import STROKE_PART
from oddeven.runtime.serve.page import PAGE, content_security_policy

BROWSER = Path(__file__).parent / "browser"
LITERT = "@litertjs/core@2.5.3"
# What of the npm packages a page needs, below node_modules/@litertjs: for browsers with and without relaxed SIMD.
FILES = (
    "core/package.json", "core/dist/index.js", "wasm-utils/package.json", "wasm-utils/dist/index.js",
    "core/wasm/litert_wasm_internal.js", "core/wasm/litert_wasm_internal.wasm",
    "core/wasm/litert_wasm_compat_internal.js", "core/wasm/litert_wasm_compat_internal.wasm",
)  # fmt: skip
IMPORTS = {f"@litertjs/{name}": f"./litert/{name}/dist/index.js" for name in ("core", "wasm-utils")}
SCRIPT = '<script type="module">'


def build_site(models: Sequence[str], out: Path, node_modules: Path | None) -> None:
    """Write the page, `models` and LiteRT.js into the folder `out`.

    Args:
        models: as `Classifier.load` takes them; each must be a `.tflite` file.
        node_modules: where npm has put `@litertjs/core`; None to let npm fetch it.

    Raises:
        UsageError: a model is not a `.tflite` file, or is given twice.
        MissingPackageError: `node_modules` lacks LiteRT.js, or npm is missing or cannot fetch it.
        OutputError: `out` cannot be written.
    """
    paths = {path.name: path for path in map(locate, models)}
    if len(paths) < len(models):
        raise UsageError("Two of the models have the same file name; give each once.")
    described = [_described(path) for path in paths.values()]
    contents = _installed(node_modules) if node_modules else _fetched()
    contents |= {path.name: path.read_bytes() for path in (*BROWSER.iterdir(), *paths.values())}
    contents["litert/LICENSE"] = _apache_license()
    contents["models.json"] = json.dumps(described).encode()
    contents["index.html"] = _page().encode()
    for name, content in contents.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write(out / name, content)


def _described(path: Path) -> dict[str, Any]:
    """What the page must know of a model."""
    if path.suffix != ".tflite":
        raise UsageError(f"{path} is not a .tflite file, which is what runs in a browser.")
    with Classifier.load(path) as classifier:
        spec, view, output = classifier.spec, classifier.spec.input, classifier.engine.output
        known = classifier.engine.familiarity
        stroke_side = view.parameters.get("stroke_side", STROKE_PART * min(view.height, view.width))
        levels = classifier.encode(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)).ravel()
        return {
            "name": spec.name,
            "file": path.name,
            "labels": spec.labels,
            "threshold": spec.threshold,
            "drawable": view.channels == 1,
            "input": {
                "height": view.height, "width": view.width, "channels": view.channels, "polarity": view.polarity,
                "preprocessing": view.preprocessing, "stroke_side": stroke_side, "dtype": levels.dtype.name,
                "levels": levels.tolist(),
            },
            "output": {"scale": output.scale, "zero_point": output.zero_point, "gap": range_gap(output)},
            "familiarity": known and spec.familiarity and {
                "scale": known.scale, "zero_point": known.zero_point, "scores": spec.familiarity.scores,
                "shares": spec.familiarity.shares, "least": spec.min_familiarity,
            },
        }  # fmt: skip


def _installed(node_modules: Path) -> dict[str, bytes]:
    """The files of LiteRT.js that npm has put there, by their place in the page's folder."""
    found = node_modules / "@litertjs"
    if missing := [name for name in FILES if not (found / name).is_file()]:
        raise MissingPackageError(f"There is no {found / missing[0]}; put it there with: npm install {LITERT}")
    return {f"litert/{name}": (found / name).read_bytes() for name in FILES}


def _fetched() -> dict[str, bytes]:
    """The same, fetched by npm."""
    if (npm := shutil.which("npm")) is None:
        raise MissingPackageError(
            f"The page needs LiteRT.js: install npm, which fetches it, or run `npm install {LITERT}` elsewhere and "
            "give the folder: --node-modules node_modules"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={folder}", LITERT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
            raise MissingPackageError(f"npm could not fetch {LITERT}: {reason}")
        return _installed(Path(folder, "node_modules"))


def _apache_license() -> bytes:
    """The text of the Apache License 2.0: this package's own licence, and that of LiteRT.js, whose packages lack it."""
    files = distribution("oddeven").files or ()
    (text,) = (file.read_binary() for file in files if file.name == "LICENSE" and file.parent.name == "licenses")
    return bytes(text)


def _page() -> str:
    """The page of `oddeven serve`, with a map to LiteRT.js, and its policy inside, where a static host sends none."""
    imports = json.dumps({"imports": IMPORTS})
    page = PAGE.replace(SCRIPT, f'<script type="importmap">{imports}</script>\n{SCRIPT}')
    policy = content_security_policy(page, "'self' 'wasm-unsafe-eval'").replace("; frame-ancestors 'none'", "")
    charset = '<meta charset="utf-8">'
    return page.replace(charset, f'{charset}\n<meta http-equiv="Content-Security-Policy" content="{policy}">')
