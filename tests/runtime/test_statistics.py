"""The gate's statistics against SciPy, statsmodels and scikit-learn, on random data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, mannwhitneyu
from sklearn.metrics import log_loss, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from oddeven.runtime.parity.compare import compare
from oddeven.runtime.parity.metrics import auc, calibration_error, compute_metrics
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.parity.statistics import at_most, mcnemar, share_limits

counts = st.integers(0, 300)


@given(counts, counts)
def test_mcnemar_is_the_exact_binomial_test(lost, won):
    expected = statsmodels_mcnemar([[50, lost], [won, 50]], exact=True).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(min(1.0, expected), rel=1e-9)
    if lost + won:
        assert mcnemar(lost, won) == pytest.approx(binomtest(lost, lost + won).pvalue, rel=1e-9)


def test_mcnemar_stays_exact_for_thousands_of_changes():
    assert mcnemar(5100, 4900) == pytest.approx(binomtest(5100, 10_000).pvalue, rel=1e-9)


@given(st.integers(1, 100_000), st.floats(0, 1), st.floats(0, 1))
def test_the_binomial_tail_is_scipys(count, part, share):
    k = round(part * count)
    assert at_most(k, count, share) == pytest.approx(binom.cdf(k, count, share), rel=1e-8, abs=1e-12)


@given(st.integers(1, 20_000), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.995]))
@example(2, 0.8, 1.0 - 1e-12)
@example(10_000, 0.8, 1.0 - 2.0**-53)
@example(10, 0.8, 1.0)
@settings(max_examples=60, deadline=None)
def test_the_limits_of_a_share_are_clopper_and_pearsons(count, part, confidence):
    k = round(part**4 * count)
    low, high = proportion_confint(k, count, alpha=2 * (1 - confidence), method="beta")
    assert share_limits(k, count, confidence) == pytest.approx((low if k else 0.0, high), rel=1e-8, abs=1e-12)


@st.composite
def answers(draw):
    """Labels of both kinds, and probabilities on a grid as coarse as a quantized output's, so that ties occur."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(4, 200))
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).astype(np.uint8)
    labels[:2] = 0, 1
    levels = draw(st.sampled_from([2, 16, 256]))
    return labels, (random.integers(0, levels, count) / levels).astype(np.float32)


@settings(max_examples=60)
@given(answers())
def test_auc_is_scikit_learns_and_scipys(drawn):
    labels, p = drawn
    assert auc(p, labels) == pytest.approx(roc_auc_score(labels, p), abs=1e-12)
    ones, zeros = p[labels == 1], p[labels == 0]
    u = mannwhitneyu(ones, zeros).statistic
    assert auc(p, labels) == pytest.approx(u / (len(ones) * len(zeros)), abs=1e-12)


@settings(max_examples=60)
@given(answers())
def test_log_loss_is_scikit_learns(drawn):
    labels, p = drawn
    expected = log_loss(labels, np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7))
    # 1 - p is formed in float32, half a step of which is 2**-25, and clipped at 1e-7.
    assert compute_metrics(p, labels, 0.5).log_loss == pytest.approx(expected, rel=1e-5)


def test_auc_of_one_label_is_none():
    assert auc(np.array([0.1, 0.9], np.float32), np.array([1, 1], np.uint8)) is None


def test_calibration_error_by_hand():
    # Two bins are used: ten answers of 0.9 of which 5 are label 1, ten of 0.1 of which 1 is: (0.4 + 0.0) / 2.
    p = np.array([0.9] * 10 + [0.1] * 10, np.float32)
    labels = np.array([1] * 5 + [0] * 5 + [1] + [0] * 9, np.uint8)
    assert calibration_error(p, labels) == pytest.approx(0.2, abs=1e-6)
    assert calibration_error(np.array([0.0, 1.0], np.float32), np.array([0, 1], np.uint8)) == 0.0


@settings(max_examples=30)
@given(answers(), st.integers(0, 2**32 - 1))
def test_slices_and_changes_add_up_to_the_whole(drawn, seed):
    labels, reference = drawn
    random = np.random.default_rng(seed)
    moved = np.clip(reference + random.normal(0, 0.2, len(labels)), 0, 1).astype(np.float32)
    slices = random.choice(["left", "right"], len(labels))
    result = compare(reference, moved, labels, slices, 0.5, "int8", Policy())
    assert sum(part.count for part in result.slices) == result.count == len(labels)
    kept = sum(part.count * part.agreement for part in result.slices)
    assert kept == pytest.approx(result.count * result.agreement)
    assert len(result.changes) == result.right_to_wrong + result.wrong_to_right
    distances = [abs(change.reference - 0.5) for change in result.changes]
    assert distances == sorted(distances)
    for change in result.changes:
        assert (change.reference > 0.5) != (change.answer > 0.5)
        assert change.label == labels[change.position]
