"""C99 for microcontrollers, made from the int8 TFLite file: no library, heap or floating point, one static arena."""

from __future__ import annotations

from dataclasses import replace

from oddeven.export import tflite
from oddeven.export.c.library import c_library
from oddeven.export.conversion import Conversion


def convert(source: Conversion) -> bytes:
    """The library as a ZIP file; it computes what tflite-micro computes for the int8 file, bit for bit."""
    return c_library(tflite.int8(replace(source, float_io=False)), source.spec)
