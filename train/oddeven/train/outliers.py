"""Images of nothing that a model knows, made up from its training images, or a user's own, for it to find unfamiliar.

Also training images as a worse camera would show them, which it must still find familiar.

Hendrycks, Mazeika and Dietterich, 2019, Deep anomaly detection with outlier exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError, UsageError
from oddeven.runtime.images.encode import to_image
from oddeven.runtime.images.image_folder import load_image_folder
from oddeven.train.data.dataset import Dataset

Random = np.random.Generator
BLUR, RESOLUTION = (0.01, 0.045), (0.32, 0.7)  # of an image out of focus: the blur's radius and the size, of a side
HUE = 14  # of 256, either way
STYLE: Mapping[Callable[[Image.Image], Any], tuple[float, float]] = {
    ImageEnhance.Color: (0.5, 1.6), ImageEnhance.Contrast: (0.7, 1.4), ImageEnhance.Brightness: (0.75, 1.25),
}  # fmt: skip
ZOOM = (0.8, 1.2)
GAIN = (1.0, 2.0)  # contrast, of that before, where some is added


def load_unknown(folder: Path, data: Dataset, max_bad: int | None = None) -> Pixels:
    """The images at any depth below `folder`, which are of neither label of `data`: uint8 (N, *data.input.shape).

    Raises:
        DataError: there is no such folder or no image in it, or more than `max_bad` cannot be used.
        UsageError: its subfolders are named after the labels.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give one with images of neither label.")
    found = load_image_folder(folder, data.labels, data.input, max_bad)
    if found.labels is not None:
        raise UsageError(f"{folder} has the folders {' and '.join(data.labels)}; expected images of neither.")
    return found.images


def make_up(images: Pixels, count: int, random: Random) -> Pixels:
    """Made-up images, uint8 (count, H, W, C), from training images, uint8 (N, H, W, C)."""
    weights = np.array(list(MAKERS.values()), float)
    kinds = random.choice(len(MAKERS), count, p=weights / weights.sum())
    makers = list(MAKERS)
    sources = random.integers(0, len(images), (count, 2))
    made = [makers[kind](images[a], images[b], random) for kind, (a, b) in zip(kinds, sources, strict=True)]
    pixels = _to_pixels(made)
    # Half of them out of focus as well: what is blurred is not for that reason known.
    pixels[: count // 2] = out_of_focus(pixels[: count // 2], random)
    return pixels


def out_of_focus(images: Pixels, random: Random) -> Pixels:
    """Each of the images, uint8 (N, H, W, C), blurred or of low resolution, or both, and half with contrast added."""
    return _to_pixels([_softened(image, random) for image in images]) if len(images) else images


def restyled(images: Pixels, random: Random) -> Pixels:
    """Each of the images, uint8 (N, H, W, 3), as another camera or draughtsman would show it."""
    return _to_pixels([_restyled(image, random) for image in images])


def _to_pixels(images: list[Any]) -> Pixels:
    pixels: Pixels = np.clip(np.stack(images), 0, 255).astype(np.uint8)
    return pixels


def _softened(image: Pixels, random: Random) -> Any:
    (height, width), sharp = image.shape[:2], np.ptp(image)
    for _ in range(random.integers(1, 3)):
        if random.random() < 0.5:
            blur = ImageFilter.GaussianBlur(random.uniform(*BLUR) * min(height, width))
            image = np.asarray(to_image(image).filter(blur)).reshape(image.shape)
        else:
            few = [max(1, round(random.uniform(*RESOLUTION) * side)) for side in (width, height)]
            small = to_image(image).resize((few[0], few[1]), Image.Resampling.BOX)
            image = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).reshape(image.shape)
    if random.random() < 0.5:
        gain = random.uniform(*GAIN) * float(sharp) / max(1.0, float(np.ptp(image)))
        paper = np.median(image, axis=(0, 1))
        return paper + gain * (image - paper)
    return image


def _restyled(image: Pixels, random: Random) -> Pixels:
    hue, saturation, value = Image.fromarray(image).convert("HSV").split()
    shift = int(random.integers(-HUE, HUE + 1)) if random.random() < 0.5 else 0
    hue = hue.point([(tone + shift) % 256 for tone in range(256)])
    made = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    for enhance, factors in STYLE.items():
        made = enhance(made).enhance(random.uniform(*factors))
    match random.integers(0, 5):
        case 0:
            made = made.filter(ImageFilter.MedianFilter(5))
        case 1:
            made = made.filter(ImageFilter.ModeFilter(5))
        case 2:
            made = ImageEnhance.Sharpness(made).enhance(random.uniform(1.5, 4.0))
        case 3:
            gamma = random.uniform(0.6, 1.6)
            made = made.point([round(255 * (tone / 255) ** gamma) for tone in range(256)] * 3)
    if random.random() < 0.5:
        paper = np.median(image, axis=(0, 1)).astype(int).tolist()
        size = [round(random.uniform(*ZOOM) * side) for side in made.size]
        place = [(side - new) // 2 for side, new in zip(made.size, size, strict=True)]
        sheet = Image.new("RGB", made.size, tuple(paper))
        sheet.paste(made.resize((size[0], size[1]), Image.Resampling.BICUBIC), (place[0], place[1]))
        made = sheet
    return np.asarray(made)


def shuffled(a: Pixels, b: Pixels, random: Random) -> Any:
    """The tiles of an image in another order."""
    n = int(random.choice([2, 4, 7]))
    h, w, made = a.shape[0] // n, a.shape[1] // n, a.copy()
    for place, other in enumerate(random.permutation(n * n).tolist()):
        (y, x), (v, u) = divmod(place, n), divmod(other, n)
        made[y * h : (y + 1) * h, x * w : (x + 1) * w] = a[v * h : (v + 1) * h, u * w : (u + 1) * w]
    return made


def turned(a: Pixels, b: Pixels, random: Random) -> Any:
    """An image on its side or upside down, and perhaps mirrored; a mirrored one alone may well be known."""
    quarters = int(random.integers(1, 4)) if a.shape[0] == a.shape[1] else 2
    made = np.rot90(a, quarters)
    return made[:, ::-1] if random.random() < 0.5 else made


def joined(a: Pixels, b: Pixels, random: Random) -> Any:
    """One image on one side of a line through the middle, another on the other."""
    height, width = a.shape[:2]
    angle, (y, x) = random.uniform(0, 2 * np.pi), np.mgrid[:height, :width]
    distance = np.cos(angle) * (x - width / 2) / width + np.sin(angle) * (y - height / 2) / height
    return np.where((distance > random.uniform(-0.1, 0.1))[..., None], a, b)


def mixed(a: Pixels, b: Pixels, random: Random) -> Any:
    """Two images on top of each other."""
    return np.maximum(a, b) if random.random() < 0.5 else (a.astype(np.float32) + b) / 2


def warped(a: Pixels, b: Pixels, random: Random) -> Any:
    """An image on rubber: Simard, Steinkraus and Platt, 2003, but further than its label survives."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    side = min(a.shape[:2])
    smooth, far = random.uniform(0.07, 0.11) * side, random.uniform(0.25, 0.33) * side
    moves = [gaussian_filter(random.normal(size=a.shape[:2]), smooth) for _ in range(2)]
    places = np.mgrid[: a.shape[0], : a.shape[1]] + [far * move / np.abs(move).max() for move in moves]
    return np.stack([map_coordinates(a[..., c], places, order=1, mode="nearest") for c in range(a.shape[2])], axis=-1)


def scribbled(a: Pixels, b: Pixels, random: Random) -> Any:
    """One to three strokes in the image's brightest or darkest colour, on its median one."""
    height, width, channels = a.shape
    t, scale = np.linspace(0, 1, 24)[:, None], 4
    sheet = Image.new("L", (scale * width, scale * height))
    for _ in range(random.integers(1, 4)):
        p = random.uniform(0.15, 0.85, (4, 1, 2)) * sheet.size
        curve = (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3]
        thickness = int(random.uniform(0.045, 0.115) * sheet.size[0])
        ImageDraw.Draw(sheet).line([(x, y) for x, y in curve.tolist()], fill=255, width=thickness, joint="curve")
    drawn = np.asarray(sheet.resize((width, height), Image.Resampling.BOX), np.float32)[..., None] / 255
    paper = np.median(a.reshape(-1, channels), axis=0)
    ink = a.reshape(-1, channels).max(0) if paper.mean() < 128 else a.reshape(-1, channels).min(0)
    return paper + drawn * (ink - paper)


def clouded(a: Pixels, b: Pixels, random: Random) -> Any:
    """Noise of any coarseness and contrast."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(random.normal(size=a.shape), (*[random.uniform(0, a.shape[0] / 7)] * 2, 0))
    noise = (noise - noise.min()) / (np.ptp(noise) + 1e-9)
    return 255 * np.clip((noise - random.uniform(0.2, 0.8)) * random.uniform(0.5, 8) + 0.5, 0, 1)


def striped(a: Pixels, b: Pixels, random: Random) -> Any:
    """Waves of any direction, length and contrast, or two that cross."""
    height, width = a.shape[:2]
    (y, x), waves = np.mgrid[:height, :width], np.zeros((height, width))
    for _ in range(random.integers(1, 3)):
        angle, length = random.uniform(0, np.pi), min(height, width) ** random.uniform(0.2, 1)  # in pixels
        waves += np.sin(2 * np.pi * ((np.cos(angle) * x + np.sin(angle) * y) / length + random.random()))
    return np.repeat(127.5 + 127.5 * np.clip(waves * random.uniform(0.5, 8), -1, 1)[..., None], a.shape[2], axis=2)


def noisy(a: Pixels, b: Pixels, random: Random) -> Any:
    """An image under noise that leaves little of it, or the noise alone."""
    noise = random.normal(0, random.uniform(60, 200), a.shape)
    return (a if random.random() < 0.7 else 127) + noise


def enlarged(a: Pixels, b: Pixels, random: Random) -> Any:
    """About half of an image, enlarged."""
    height, width = a.shape[:2]
    h, w = (max(1, int(side * random.uniform(0.35, 0.65))) for side in (height, width))
    y, x = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
    return _resized(a[y : y + h, x : x + w], width, height)


def paired(a: Pixels, b: Pixels, random: Random) -> Any:
    """Two images side by side, or one above the other."""
    return _resized(np.concatenate([a, b], axis=random.integers(0, 2)), a.shape[1], a.shape[0])


def inverted(a: Pixels, b: Pixels, random: Random) -> Any:
    """The negative."""
    return 255 - a


def blank(a: Pixels, b: Pixels, random: Random) -> Any:
    """One grey, nearly."""
    return random.uniform(0, 255) + random.normal(0, 8, a.shape)


def _resized(image: Pixels, width: int, height: int) -> Any:
    resized = np.asarray(to_image(image).resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, image.shape[2])


# How often each is taken: more often what is nearer to the training images.
MAKERS: Mapping[Callable[[Pixels, Pixels, Random], Any], int] = {
    shuffled: 3, turned: 2, joined: 2, mixed: 2, warped: 3, scribbled: 2, enlarged: 1, paired: 1, clouded: 1,
    striped: 1, noisy: 1, inverted: 1, blank: 1,
}  # fmt: skip
