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
    "tiny": "119 149 158 264 447 457 534 542 547 557 619 646 658 659 691 740 839 947 1014 1122 1216 1226 1232 1242 1292"
    " 1328 1403 1438 1459 1496 1530 1551 1654 1782 1868 1878 1900 1941 1945 1949 2040 2098 2129 2135 2147 2161"
    " 2175 2329 2365 2395 2414 2454 2523 2532 2654 2758 2771 2803 2836 3073 3166 3218 3225 3238 3316 3681 3726"
    " 3764 3767 3808 3859 3869 4065 4176 4199 4382 4425 4551 4579 4617 4658 4699 4723 4731 4738 4761 4823 4860"
    " 4874 4911 4934 4943 4990 5201 5449 5450 5636 5654 5677 5749 5936 6081 6157 6172 6173 6526 6538 6554 6555"
    " 6592 6597 6599 6625 6783 6797 6843 6883 7064 7179 7212 7839 7911 7920 8095 8102 8128 8183 8188 8198 8239"
    " 8332 8376 8408 8520 8527 8742 9009 9015 9025 9123 9433 9490 9505 9596 9627 9664 9669 9679 9692 9735 9749"
    " 9754 9792 9975",
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
