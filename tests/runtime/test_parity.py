"""The gate's arithmetic against numbers worked out by hand, and its verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oddeven.runtime.check import FAIL, INCONCLUSIVE, PASS
from oddeven.runtime.paired import drop_interval
from oddeven.runtime.parity import Policy, compare


def paired(count, lost, won, shift=0.3):
    """Reference and file probabilities on `count` pictures labelled 1, with given disagreements."""
    labels = np.ones(count, np.uint8)
    reference = np.full(count, 0.9, np.float32)
    answers = reference.copy()
    answers[:lost] = 0.5 - shift
    reference[lost : lost + won] = 0.5 - shift
    return reference, answers, labels


def judge(count, lost, won, precision="int8", policy=None):
    return judged(*paired(count, lost, won), precision, policy or Policy())


def judged(reference, answers, labels, precision="int8", policy=Policy()):  # noqa: B008
    return compare(reference, answers, labels, np.full(len(labels), "all"), 0.5, precision, policy)


def test_counts_and_shares_of_a_small_example():
    labels = np.array([1, 1, 0, 0], np.uint8)
    reference = np.array([0.9, 0.4, 0.2, 0.1], np.float32)
    answers = np.array([0.8, 0.6, 0.7, 0.1], np.float32)
    result = judged(reference, answers, labels)
    assert (result.count, result.reference.accuracy, result.file.accuracy) == (4, 0.75, 0.75)
    assert (result.right_to_wrong, result.wrong_to_right, result.agreement) == (1, 1, 0.5)
    assert result.drop_pp == 0.0
    assert result.max_shift == pytest.approx(0.5)


def test_the_interval_is_bonett_and_price_worked_out_by_hand():
    # 100 pictures, 5 lost, 2 won: p = 6/102 and 3/102, difference 0.0294118,
    # variance (0.0882353 - 0.0008651) / 102 = 0.00085657, half-width 1.959964 * 0.0292672 = 0.0573627.
    low, high = drop_interval(5, 2, 100, 0.95)
    assert low == pytest.approx(0.0294118 - 0.0573627, abs=1e-6)
    assert high == pytest.approx(0.0294118 + 0.0573627, abs=1e-6)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    count, p_lost, p_won = 500, 0.02, 0.01
    draws = random.multinomial(count, [p_lost, p_won, 1 - p_lost - p_won], size=2000)
    inside = 0
    for lost, won, _ in draws:
        low, high = drop_interval(int(lost), int(won), count, 0.95)
        inside += low <= p_lost - p_won <= high
    # Three standard errors of a share of 0.95 over 2,000 draws, below; the interval is known to err on the wide side.
    assert inside / 2000 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000)


@pytest.mark.parametrize(
    ("count", "lost", "won", "verdict", "says"),
    [
        (10_000, 0, 0, PASS, "at most 0.03 pp"),
        (10_000, 9, 4, PASS, "at most"),
        (10_000, 15, 10, FAIL, "Agreement is 99.75%"),
        (10_000, 20, 0, FAIL, "The drop is at least 0.11 pp"),
        (100, 0, 0, INCONCLUSIVE, "pictures would settle it"),
        (10_000, 14, 2, INCONCLUSIVE, "around the limit 0.10 pp"),
    ],
)
def test_verdicts(count, lost, won, verdict, says):
    import re

    result = judge(count, lost, won)
    assert result.verdict == verdict, result.reason
    assert re.search(says, result.reason)


def test_the_number_of_pictures_asked_for_does_settle_it():
    first = judge(500, 0, 0)
    assert first.verdict == INCONCLUSIVE
    asked = int("".join(c for c in first.reason.split("about")[1].split("pictures")[0] if c.isdigit()))
    assert judge(asked, 0, 0).verdict == PASS


def test_a_float_file_may_not_change_an_answer():
    assert judge(10_000, 0, 0, "float32").verdict == PASS
    assert judge(10_000, 1, 0, "float32").verdict == FAIL
    assert judge(10_000, 0, 1, "float32").verdict == FAIL


def test_a_float_file_may_change_a_tie_by_rounding():
    labels = np.array([1], np.uint8)
    tie = np.array([0.500004], np.float32), np.array([0.499997], np.float32)
    assert judged(*tie, labels, "float32").verdict == PASS
    step = np.array([0.50004], np.float32), np.array([0.49997], np.float32)
    assert judged(*step, labels, "float32").verdict == FAIL


@pytest.mark.parametrize("broken", [np.nan, np.inf, -0.1, 1.5])
def test_what_is_no_probability_is_refused(broken):
    reference, answers, labels = paired(10, 0, 0)
    answers[3] = broken
    with pytest.raises(ValueError, match="not a number from 0 to 1"):
        judged(reference, answers, labels)


def test_lengths_must_pair_up():
    reference, answers, labels = paired(10, 0, 0)
    with pytest.raises(ValueError, match="do not pair up"):
        judged(reference, answers[:5], labels)
    with pytest.raises(ValueError, match="do not pair up"):
        judged(reference[:0], answers[:0], labels[:0])
