"""The screenshots of docs/serve.md: the page on a desktop, dark with a camera, and on a phone.

PYTHONPATH=tests python -P benchmarks/page.py    # needs Chromium and the extras `serve`, `camera` and `dev`
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from serve.browsing import FOUR, ONE, PHONE, browsing, draw
from serve.conftest import serving

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
DESKTOP = {"viewport": {"width": 1080, "height": 820}}


def write_video(path: Path) -> None:
    """Test digits on paper that is not quite white, a second each."""
    with np.load(ROOT / "train" / "data" / "mnist.npz") as mnist:
        digits = mnist["x_test"][:12]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"png "), 25.0, (640, 480))
    for digit in digits:
        frame = np.full((480, 640), 225, np.uint8)
        frame[86:394, 166:474] -= cv2.resize(digit, (308, 308), interpolation=cv2.INTER_CUBIC) // 4 * 3
        for _ in range(25):
            writer.write(np.repeat(frame[..., None], 3, axis=-1))
    writer.release()


def main() -> None:
    """Write the three screenshots."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("This needs a browser: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        video = Path(name) / "digits.avi"
        write_video(video)
        with serving("mlp", "cnn", "deep_cnn") as server:
            for context, shot, strokes in ((DESKTOP, "page-desktop.png", FOUR), (PHONE, "page-phone.png", ONE)):
                with browsing(chromium, server.url, **context) as page:
                    draw(page, strokes)
                    page.wait_for_selector("#strip li")
                    page.screenshot(path=IMAGES / shot)
        with (
            serving("cnn", "--camera", video, "--keep", Path(name) / "kept") as server,
            browsing(chromium, server.url, color_scheme="dark", **DESKTOP) as page,
        ):
            page.locator("#strip li").nth(4).wait_for()
            page.screenshot(path=IMAGES / "page-camera.png")


if __name__ == "__main__":
    main()
