"""Random affine distortion, one draw a picture, as TensorFlow operations on a whole batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Affine:
    """How far a picture may be distorted; each amount is drawn uniformly from minus to plus the bound.

    Attributes:
        rotation_deg: in degrees.
        log_scale: natural logarithm of the scale, for width and height apart.
        shear: pixels of shift per pixel of distance from the centre, for both axes apart.
        shift_px: in pixels, for both axes apart.
    """

    rotation_deg: float
    log_scale: float
    shear: float
    shift_px: float


def distort(images: Any, bounds: Affine, seed: Any) -> Any:
    """Distorted copies, bilinearly interpolated, with zeros from outside the picture.

    Args:
        images: float32 (N, height, width, channels).
        seed: int32 (2,); equal seeds give equal pictures.

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
    shift_x, shift_y = uniform(2, bounds.shift_px)
    xx, xy = tf.cos(angle) * scale_x, (shear_x - tf.sin(angle)) * scale_x
    yx, yy = (shear_y + tf.sin(angle)) * scale_y, tf.cos(angle) * scale_y
    # Output pixel (x, y) is read from (xx x + xy y + x0, yx x + yy y + y0): the centre maps to itself, shifted.
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x0 = centre_x - xx * centre_x - xy * centre_y + shift_x
    y0 = centre_y - yx * centre_x - yy * centre_y + shift_y
    zero = tf.zeros_like(angle)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
