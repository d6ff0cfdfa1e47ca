"""The chosen threshold against every threshold there is, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from oddeven.runtime.parity.thresholds import by_cost, by_f1, by_max_fpr

cases = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40)


def arrays(pairs):
    p = np.array([score / 20 for score, _ in pairs], np.float32)
    return p, np.array([label for _, label in pairs], np.uint8)


def every_threshold(p):
    """One between each two neighbouring scores, one below all that are above 0 and one above all that are below 1."""
    marks = np.unique(np.concatenate([[0.0, 1.0], p.astype(np.float64)]))
    return (marks[1:] + marks[:-1]) / 2


def cost(p, labels, threshold, fp, fn):
    answers = p > threshold
    return fp * int((answers & (labels == 0)).sum()) + fn * int((~answers & (labels == 1)).sum())


@settings(max_examples=200, deadline=None)
@given(cases, st.sampled_from([(1, 1), (10, 1), (1, 10), (2**-40, 2**-40)]))
def test_no_threshold_costs_less(pairs, prices):
    p, labels = arrays(pairs)
    chosen = by_cost(p, labels, *prices)
    assert 0 < chosen < 1
    assert cost(p, labels, chosen, *prices) == min(cost(p, labels, t, *prices) for t in every_threshold(p))


@settings(max_examples=100, deadline=None)
@given(cases)
def test_no_threshold_has_a_greater_f1(pairs):
    p, labels = arrays(pairs)
    reached = f1_score(labels, p > by_f1(p, labels), zero_division=0.0)
    assert reached == pytest.approx(max(f1_score(labels, p > t, zero_division=0.0) for t in every_threshold(p)))


@settings(max_examples=200, deadline=None)
@given(cases, st.sampled_from([0.0, 0.1, 0.5]))
def test_false_alarms_stay_within_the_limit_and_no_more_is_missed_than_must_be(pairs, limit):
    p, labels = arrays(pairs)
    zeros = max(1, int((labels == 0).sum()))

    def missed(t):
        within = ((p > t) & (labels == 0)).sum() / zeros <= limit
        return int(((p <= t) & (labels == 1)).sum()) if within else np.inf

    best = min(map(missed, every_threshold(p)))
    if best < np.inf:
        assert missed(by_max_fpr(p, labels, limit)) == best
