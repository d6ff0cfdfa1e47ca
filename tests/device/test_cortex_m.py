"""int8 models as C on emulated Cortex-M cores: the bytes that tflite-micro gives, and no others."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from conftest import benchmark

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.engines.registry import installed

microcontrollers, emulation = benchmark("microcontrollers"), benchmark("emulation")
CORES, TINY, SINGLE_ROUNDING = emulation.CORES, microcontrollers.TINY, emulation.SINGLE_ROUNDING
emulate, expected_answers = emulation.emulate, emulation.expected_answers
COUNT = {"mlp": 100, "cnn": 100, "deep_cnn": 50, "tiny": 100}
STACK_BYTES = 512

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not os.environ.get("CI") and not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))),
        reason="no emulated Cortex-M: apt-get install --no-install-recommends gcc-arm-none-eabi qemu-system-arm",
    ),
    pytest.mark.skipif(not installed("tflite-micro"), reason="no oracle: pip install 'oddeven[micro]', on x86-64"),
]


@pytest.fixture(scope="module", params=COUNT)
def golden(request, raw):
    """(model file, images, what tflite-micro computes for them, how many of those the other rounding changes).

    Among the images are all of the 10,000 test images that the other rounding changes; where a model has changed,
    `python benchmarks/microcontrollers.py` finds them anew.
    """
    different = json.loads(microcontrollers.DIFFERENT.read_text())[request.param]
    assert different
    images = raw["x_test"][sorted({*different, *range(COUNT[request.param])}), ..., None]
    path = (bundled() | {"tiny": TINY})[request.param]
    return path, images, expected_answers(path, images), len(different)


@pytest.mark.parametrize("core", CORES)
def test_it_computes_the_same_bits(core, golden, tmp_path):
    path, images, expected, _ = golden
    run = emulate(path, images, expected, core, tmp_path)
    assert (run.exit_code, run.wrong, run.images) == (0, 0, len(images))
    assert 0 < run.stack < STACK_BYTES


def test_the_wrong_rounding_fails_on_every_image_that_it_changes(golden, tmp_path):
    path, images, expected, count = golden
    run = emulate(path, images, expected, "M4", tmp_path, flags=(SINGLE_ROUNDING,))
    assert (run.exit_code, run.wrong) == (1, count)


def test_one_wrong_golden_is_found(golden, tmp_path):
    path, images, expected, _ = golden
    expected = expected ^ (np.arange(len(expected)) == len(expected) - 1).astype(np.uint8)
    run = emulate(path, images, expected, "M3", tmp_path)
    assert (run.exit_code, run.wrong) == (1, 1)
