"""Random augmentation, one draw an image, as TensorFlow operations on a whole batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Affine:
    """How far an image may be distorted; each amount is drawn uniformly from minus to plus the bound.

    Attributes:
        rotation_deg: in degrees.
        log_scale: natural logarithm of the scale, for width and height separately.
        shear: pixels of shift per pixel of distance from the centre, for both axes separately.
        shift_px: in pixels, for both axes separately.
        shift_share: a share of the image's longer side, in addition to `shift_px`.
        brightness: natural logarithm of the gain of values from 0 to 1, clipped to that range.
        mirror: flip left to right with a probability of one half.
        fill_mode: what lies beyond the image's edge, in TensorFlow's words.
    """

    rotation_deg: float
    log_scale: float
    shear: float
    shift_px: float
    shift_share: float = 0.0
    brightness: float = 0.0
    mirror: bool = False
    fill_mode: str = "CONSTANT"


PHOTO = Affine(
    rotation_deg=4.0, log_scale=0.05, shear=0.03, shift_px=0.0, shift_share=0.05, brightness=0.1, mirror=True,
    fill_mode="REFLECT",
)  # fmt: skip
STRONG = Affine(
    rotation_deg=10.0, log_scale=0.15, shear=0.05, shift_px=0.0, shift_share=0.08, brightness=0.2, mirror=True,
    fill_mode="REFLECT",
)  # fmt: skip


def distort(images: Any, bounds: Affine, seed: Any) -> Any:
    """Distorted copies, bilinearly interpolated.

    Args:
        images: float32 (N, height, width, channels), from 0 to 1.
        bounds: of the distortion.
        seed: int32 (2,); equal seeds give equal images.

    Returns:
        float32 of the same shape.
    """
    import tensorflow as tf

    count = tf.shape(images)[0]
    height, width = images.shape[1], images.shape[2]
    draw = iter(tf.unstack(tf.random.split(seed, 4)))

    def uniform(columns: int, bound: float) -> list[Any]:
        amounts = tf.random.stateless_uniform([count, columns], next(draw), -bound, bound)
        return list(tf.unstack(amounts, axis=1))

    (angle,) = uniform(1, math.radians(bounds.rotation_deg))
    scale_x, scale_y = (tf.exp(amount) for amount in uniform(2, bounds.log_scale))
    shear_x, shear_y = uniform(2, bounds.shear)
    shift_x, shift_y = uniform(2, bounds.shift_px + bounds.shift_share * max(height, width))
    xx, xy = tf.cos(angle) * scale_x, (shear_x - tf.sin(angle)) * scale_x
    yx, yy = (shear_y + tf.sin(angle)) * scale_y, tf.cos(angle) * scale_y
    # Output pixel (x, y) is read from (xx x + xy y + x0, yx x + yy y + y0): the centre maps to itself, shifted.
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x0 = centre_x - xx * centre_x - xy * centre_y + shift_x
    y0 = centre_y - yx * centre_x - yy * centre_y + shift_y
    zero = tf.zeros_like(angle)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=bounds.fill_mode,
    )
    return _flip_and_light(moved, bounds, seed) if bounds.mirror or bounds.brightness else moved


def _flip_and_light(images: Any, bounds: Affine, seed: Any) -> Any:
    """Random flip and brightness within `bounds`; arguments as `distort`."""
    import tensorflow as tf

    flip, light = tf.unstack(tf.random.split(tf.convert_to_tensor(seed) + 1, 2))
    one_each = [tf.shape(images)[0], 1, 1, 1]
    if bounds.mirror:
        images = tf.where(tf.random.stateless_uniform(one_each, flip) < 0.5, images[:, :, ::-1], images)
    gain = tf.exp(tf.random.stateless_uniform(one_each, light, -bounds.brightness, bounds.brightness))
    return tf.clip_by_value(images * gain, 0.0, 1.0)
