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
    "mlp": "149 619 1131 1182 1242 1328 1968 2135 2268 2720 2721 3674 4382 5654 7179 7457 7783 8128",
    "cnn": "359 447 1114 1259 1482 1654 1782 1868 2195 2496 2700 2927 2995 3211 3412 3869 4048 4390 4504 4723"
    " 4759 4761 4776 4871 4924 4934 4943 5127 6471 6783 7841 7915 8008 8128 8527 9019 9071",
    "deep_cnn": "8 149 175 206 359 542 691 881 1045 1191 1232 1319 1438 1773 1790 1900 1901 2053 2063 2161 2195 2237"
    " 2363 2371 2654 2678 2695 2720 2769 2771 2803 2860 3005 3112 3173 3302 3375 3457 3518 3558 3601 3725"
    " 3727 3755 3767 3808 3893 4053 4078 4177 4199 4504 4513 4551 4745 4759 4807 4823 4874 4879 4943 5569"
    " 5654 5736 6054 6081 6090 6124 6157 6166 6243 6532 6555 6560 6571 6597 6599 6625 6783 6797 7115 7179"
    " 8183 8275 8376 8408 8442 8527 9505 9540 9643 9770 9839",
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
