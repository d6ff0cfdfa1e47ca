"""int8 models as C on emulated Cortex-M cores: the bytes that tflite-micro gives, and no others."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from conftest import benchmark

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.engines.registry import installed

microcontrollers = benchmark("microcontrollers")
CORES, TINY, emulate = microcontrollers.CORES, microcontrollers.TINY, microcontrollers.emulate
expected_answers = microcontrollers.expected_answers
# Of the 10,000 test images, all for which the two roundings differ, so that the wrong one cannot pass.
DIFFERENT = {
    "mlp": "149 1328 1758 1968 2135 2406 2720 4551 5654 7853 8851",
    "cnn": "359 447 542 676 1459 1782 2293 2414 3412 3727 4265 4504 4551 4699 4823 4860 6166 6558 6883 8095 8128 8527"
    " 9505",
    "deep_cnn": "193 447 1232 1292 1901 2406 2437 2654 2771 2803 2836 2860 2927 3558 3796 3808 4504 4536 4551 4579 4699"
    " 4731 4823 4826 6597 6883 7472 7921 8128 8316 8339 8408 8527 9123 9664 9792",
    "tiny": "8 36 193 321 554 659 882 947 1014 1052 1114 1138 1182 1232 1403 1409 1438 1459 1654 1748 1782 1790 1822"
    " 1847 1868 1878 1900 2040 2044 2129 2130 2135 2225 2338 2387 2414 2454 2532 2607 2654 2720 2803 2836 2860"
    " 3073 3218 3238 3441 3516 3751 3767 3808 3821 3859 3869 3962 4078 4163 4176 4248 4289 4500 4536 4699 4723"
    " 4738 4783 4798 4823 4874 4990 5449 5450 5457 5634 5636 6004 6157 6173 6538 6546 6555 6558 6578 6592 6883"
    " 7179 7210 7586 8092 8095 8128 8244 8275 8316 8408 8527 9009 9015 9019 9025 9123 9571 9664 9679 9709 9749"
    " 9754 9770 9792 9975",
}
COUNT = {"mlp": 100, "cnn": 100, "deep_cnn": 50, "tiny": 100}
STACK_BYTES = 512
SINGLE = ("-DODDEVEN_SINGLE_ROUNDING",)

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not os.environ.get("CI") and not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))),
        reason="no emulated Cortex-M: apt-get install --no-install-recommends gcc-arm-none-eabi qemu-system-arm",
    ),
    pytest.mark.skipif(not installed("tflite-micro"), reason="no oracle: pip install 'oddeven[micro]', on x86-64"),
]


@pytest.fixture(scope="module", params=DIFFERENT)
def golden(request, raw):
    """(model file, images, what tflite-micro computes for them, how many of those the other rounding changes)."""
    name = request.param
    different = [int(place) for place in DIFFERENT[name].split()]
    images = raw["x_test"][sorted({*different, *range(COUNT[name])}), ..., None]
    path = (bundled() | {"tiny": TINY})[name]
    return path, images, expected_answers(path, images), len(different)


@pytest.mark.parametrize("core", CORES)
def test_it_computes_the_same_bits(core, golden, tmp_path):
    path, images, expected, _ = golden
    run = emulate(path, images, expected, core, tmp_path)
    assert (run.exit_code, run.wrong, run.images) == (0, 0, len(images))
    assert 0 < run.stack < STACK_BYTES


def test_the_wrong_rounding_fails_on_every_image_that_it_changes(golden, tmp_path):
    path, images, expected, count = golden
    run = emulate(path, images, expected, "M4", tmp_path, flags=SINGLE)
    assert (run.exit_code, run.wrong) == (int(count > 0), count)


def test_one_wrong_golden_is_found(golden, tmp_path):
    path, images, expected, _ = golden
    expected = expected ^ (np.arange(len(expected)) == len(expected) - 1).astype(np.uint8)
    run = emulate(path, images, expected, "M3", tmp_path)
    assert (run.exit_code, run.wrong) == (1, 1)
