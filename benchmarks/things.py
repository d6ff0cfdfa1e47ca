"""Make train/data/things from Open Clip Art's images: a sheet of small images for each kind of thing.

apt-get download openclipart-png && dpkg -x openclipart-png_*.deb openclipart
python benchmarks/things.py openclipart/usr/share/openclipart/png
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from shared import ROOT, parser

from oddeven.runtime.arrays import Pixels
from oddeven.train.things import COLUMNS, TILE

LEFT_OUT = ("buttons", "computer", "logos", "unsorted")  # marks of companies and projects, or anything
UNFIT = ("sexy", "stripper", "pantyhose", "body_part", "bodypart", "yoga_person")  # in a path; the last have gaps
MOST, LEAST = 180, 15  # images of a kind
CONTRAST = 25.0  # the least standard deviation of an image's tones
ALIKE = 6.0  # tones: two images whose averages over 8x8 places differ by less are one


def tile(path: Path) -> Pixels:
    """The image in the middle of a white square, uint8 (TILE, TILE, 3)."""
    found = Image.open(path).convert("RGBA")
    sheet = Image.new("RGBA", found.size, "white")
    sheet.alpha_composite(found)
    image = ImageOps.contain(sheet.convert("RGB"), (TILE, TILE))
    square = Image.new("RGB", (TILE, TILE), "white")
    square.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return np.asarray(square)


def distinct(paths: list[Path]) -> Iterator[Pixels]:
    """The tiles of those images that can be read, have some contrast, and differ from each one before."""
    seen: list[np.ndarray] = []
    for path in paths:
        try:
            pixels = tile(path)
        except (OSError, SyntaxError, Image.DecompressionBombError):
            continue
        small = pixels.reshape(8, TILE // 8, 8, TILE // 8, 3).mean((1, 3))
        if pixels.std() >= CONTRAST and all(np.abs(small - other).mean() >= ALIKE for other in seen):
            seen.append(small)
            yield pixels


def main() -> None:
    arguments = parser(__doc__, out=ROOT / "train" / "data" / "things")
    arguments.add_argument("images", type=Path)
    options = arguments.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    for folder in sorted(path for path in options.images.iterdir() if path.is_dir() and path.name not in LEFT_OUT):
        paths = sorted(path for path in folder.rglob("*.png") if not any(word in str(path) for word in UNFIT))
        random.Random(0).shuffle(paths)
        tiles = [pixels for pixels, _ in zip(distinct(paths), range(MOST), strict=False)]
        if len(tiles) < LEAST:
            continue
        rows = -(-len(tiles) // COLUMNS)
        sheet = np.full((rows, COLUMNS, TILE, TILE, 3), 255, np.uint8)
        sheet.reshape(-1, TILE, TILE, 3)[: len(tiles)] = tiles
        image = Image.fromarray(sheet.transpose(0, 2, 1, 3, 4).reshape(rows * TILE, COLUMNS * TILE, 3))
        path = options.out / f"{folder.name}.webp"
        image.save(path, quality=85)
        print(f"{path}: {len(tiles)} images, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
