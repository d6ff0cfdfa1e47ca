"""Requests for one model: alone at once, together in one call."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from oddeven.runtime.serve.batching import INLINE_US, MOST_IMAGES, Batcher


def ask(counts, image_us=1.0, threads=1, infer=None):
    """Ask for `counts[i]` images, the i-th request with images of value i, all in one turn; results and call sizes."""
    calls = []

    def counted(pixels):
        calls.append(len(pixels))
        return [int(image[0, 0, 0]) for image in pixels]

    async def in_thread(work, pixels):
        await asyncio.sleep(0.01)
        return work(pixels)

    async def all_at_once():
        batcher = Batcher(infer or counted, in_thread, image_us, threads)
        images = [np.full((count, 1, 1, 1), number, np.uint8) for number, count in enumerate(counts)]
        return await asyncio.gather(*map(batcher.results, images), return_exceptions=True)

    return asyncio.run(all_at_once()), calls


def test_a_request_alone_has_a_call_of_its_own():
    assert ask([3]) == ([[0, 0, 0]], [3])


def test_requests_of_one_turn_share_a_call_and_each_gets_its_own_results():
    results, calls = ask([1, 2, 3, 4])
    assert results == [[0], [1] * 2, [2] * 3, [3] * 4]
    assert calls == [1, 9]  # the first knew of no other


def test_no_call_has_more_than_the_limit_unless_one_request_has():
    results, calls = ask([1, 40, 40, MOST_IMAGES + 1])
    assert [len(result) for result in results] == [1, 40, 40, MOST_IMAGES + 1]
    assert calls == [1, 40, 40, MOST_IMAGES + 1]


def test_what_a_call_in_the_loop_leaves_over_is_answered_too():
    results, calls = ask([1, MOST_IMAGES, MOST_IMAGES, MOST_IMAGES - 1, 1])
    assert [len(result) for result in results] == [1, MOST_IMAGES, MOST_IMAGES, MOST_IMAGES - 1, 1]
    assert calls == [1, MOST_IMAGES, MOST_IMAGES, MOST_IMAGES]


def test_a_slow_model_is_called_in_a_thread_only():
    results, calls = ask([1, 1], image_us=2 * INLINE_US)
    assert results == [[0], [1]]
    assert calls == [2]


@pytest.mark.parametrize("image_us", [1.0, 2 * INLINE_US], ids=["in the loop", "in a thread"])
def test_each_request_of_a_call_hears_of_its_failure(image_us):
    def fail(pixels):
        raise ValueError("broken")

    results, _ = ask([1, 1, 1], image_us, infer=fail)
    assert all(isinstance(result, ValueError) for result in results)
    with pytest.raises(ValueError, match="broken"):
        raise results[0]
