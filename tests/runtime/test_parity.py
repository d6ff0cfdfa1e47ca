"""The gate's arithmetic against numbers worked out by hand, and its verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS
from oddeven.runtime.parity.compare import Parity, compare
from oddeven.runtime.parity.metrics import chance_of_auc
from oddeven.runtime.parity.policy import BUILT_IN, Policy
from oddeven.runtime.parity.sample_size import SIZES, chance_of_pass, images_needed
from oddeven.runtime.parity.statistics import drop_interval
from oddeven.runtime.parity.verdict import Counts
from oddeven.runtime.parity.verdict import judge as verdict_of
from oddeven.runtime.schema import from_json, to_json


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
    return compare(reference, answers, labels, np.full(len(reference), "all"), 0.5, precision, policy)


def test_counts_and_shares_of_a_small_example():
    labels = np.array([1, 1, 0, 0], np.uint8)
    reference = np.array([0.9, 0.4, 0.2, 0.1], np.float32)
    answers = np.array([0.8, 0.6, 0.7, 0.1], np.float32)
    result = judged(reference, answers, labels)
    assert (result.count, result.reference.accuracy, result.file.accuracy) == (4, 0.75, 0.75)
    assert (result.right_to_wrong, result.wrong_to_right, result.agreement) == (1, 1, 0.5)
    assert result.drop_pp == 0.0
    assert result.max_shift == pytest.approx(0.5)


def test_the_interval_is_put_together_as_worked_out_by_hand():
    # 100 images, 5 lost, 2 won. Clopper and Pearson's one-sided 95% limits, from a table of the beta distribution:
    # 0.019906 to 0.102253 and 0.003565 to 0.061619. The correlation is sqrt(5 * 2 / (95 * 98)) = 0.032774.
    # Below: sqrt(0.030094**2 + 0.041619**2 + 2 * 0.032774 * 0.030094 * 0.041619) = 0.052153;
    # above: sqrt(0.052253**2 + 0.016435**2 + 2 * 0.032774 * 0.052253 * 0.016435) = 0.055288.
    low, high = drop_interval(5, 2, 100, 0.95)
    assert low == pytest.approx(0.03 - 0.052153, abs=2e-6)
    assert high == pytest.approx(0.03 + 0.055288, abs=2e-6)


@pytest.mark.parametrize(
    ("count", "share", "worse"),
    [(100, 0.01, 0.5), (300, 0.01, 1.0), (1000, 0.003, 1.0), (1000, 0.01, 0.75), (10_000, 0.0003, 1.0),
     (10_000, 0.003, 0.6), (200, 0.6, 0.5)],
)  # fmt: skip
def test_neither_limit_misses_the_truth_more_often_than_it_may(count, share, worse):
    """With losses alone the upper limit is exact; where most predictions change, their correlation tells."""
    random = np.random.default_rng(0)
    p_lost, p_won = share * worse, share * (1 - worse)
    draws = random.multinomial(count, [p_lost, p_won, 1 - share], size=2000)
    limits = np.array([drop_interval(int(lost), int(won), count, 0.95) for lost, won, _ in draws])
    # Three standard errors of a share of 0.05 over 2,000 draws, above.
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    assert (limits[:, 0] > p_lost - p_won).mean() <= most
    assert (limits[:, 1] < p_lost - p_won).mean() <= most


@pytest.mark.parametrize(
    ("count", "lost", "won", "verdict", "says"),
    [
        # No change: the upper limit is 1 - 0.05**(1/N), which is 0.0300% of 10,000 and 0.2% from 1,497 on.
        (10_000, 0, 0, PASS, "The drop is at most 0.03 pp at 95% confidence"),
        (1497, 0, 0, PASS, "at most 0.20 pp"),
        (1496, 0, 0, INCONCLUSIVE, "None of 1,496 predictions changed for the worse: at 95% confidence at most 0.20%"),
        # Of a mean of 20, 12 or less come with a probability of 3.9%, 13 or less with 6.6%.
        (10_000, 12, 2, PASS, "at most"),
        (10_000, 13, 3, INCONCLUSIVE, "13 of 10,000 predictions changed for the worse, 3 for the better"),
        # 29 or more come with 3.4%, 28 or more with 5.2%; the drop is none.
        (10_000, 28, 28, INCONCLUSIVE, "between 0.20% and 0.38% of all would; allowed is 0.20%"),
        (10_000, 29, 29, FAIL, "at least 0.21% of all would; allowed is 0.20%"),
        # 20 lost and none won: 0.2 - sqrt((0.2 - 0.13258)**2 + 0.02995**2) = 0.12623 pp.
        (10_000, 20, 0, FAIL, "The drop is at least 0.13 pp at 95% confidence; allowed is 0.10 pp"),
        (10_000, 11, 0, INCONCLUSIVE, "The drop is 0.11 pp here, over the 0.10 pp allowed, but may be as small as"),
        (60, 0, 0, INCONCLUSIVE, "None of 60 predictions changed for the worse: at 95% confidence at most 4.87%"),
        (300, 1, 0, INCONCLUSIVE, "1 of 300 predictions changed for the worse"),
        (20, 1, 0, INCONCLUSIVE, "1 of 20 predictions changed for the worse"),
        (400, 0, 1, INCONCLUSIVE, "None of 400 predictions changed for the worse, 1 for the better"),
        (10_000, 0, 500, PASS, "at most"),
        (1, 1, 0, INCONCLUSIVE, "1 of 1 predictions"),
    ],
)
def test_verdicts(count, lost, won, verdict, says):
    result = judge(count, lost, won)
    assert result.verdict == verdict, result.reason
    assert [check for check in result.checks if says in check.reason], result.checks


@given(st.integers(1, 20_000), st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_only_better_never_fails(count, data):
    won = data.draw(st.integers(0, count))
    assert verdict_of(Counts(count, won, 0), Policy()).overall != FAIL


def test_gains_count_where_the_policy_says_so():
    strict = Policy(count_gains=True)
    assert judge(10_000, 0, 29).verdict == PASS
    assert judge(10_000, 0, 29, policy=strict).verdict == FAIL
    assert judge(10_000, 6, 6, policy=strict).verdict == PASS
    assert judge(10_000, 7, 6, policy=strict).verdict == INCONCLUSIVE


def test_a_policy_that_allows_no_change_is_about_the_images_at_hand():
    none = Policy(min_agreement=1.0)
    assert judge(10_000, 0, 0, policy=none).verdict == PASS
    assert judge(10_000, 1, 0, policy=none).verdict == FAIL


@pytest.mark.parametrize(
    ("count", "changed", "verdict", "says"),
    [
        (1497, 0, PASS, "None of 1,497 predictions changed: at 95% confidence at most 0.20% of all would"),
        (60, 0, INCONCLUSIVE, "None of 60 predictions changed: at 95% confidence at most 4.87% of all would"),
        (10_000, 12, PASS, "12 of 10,000 predictions changed"),
        (10_000, 29, FAIL, "at least 0.21% of all would"),
    ],
)
def test_without_labels_agreement_is_judged_alone(count, changed, verdict, says):
    reference, answers, _ = paired(count, changed, 0)
    result = judged(reference, answers, None)
    assert (result.verdict, result.count, len(result.changes)) == (verdict, count, changed)
    assert says in result.reason
    assert [check.name for check in result.checks] == ["agreement"]
    assert result.agreement == pytest.approx(1 - changed / count)
    absent = ("reference", "file", "accuracy", "drop_pp", "drop_low_pp", "drop_high_pp", "mcnemar_p",
              "right_to_wrong", "wrong_to_right")  # fmt: skip
    assert {getattr(result, name) for name in absent} == {None}
    assert {change.label for change in result.changes} <= {None}
    assert result.slices[0].drop_pp is None
    assert from_json(Parity, to_json(result), "parity") == result


def test_an_unlabelled_float_file_may_not_change_an_answer():
    for changed, verdict in ((0, PASS), (1, FAIL)):
        reference, answers, _ = paired(50, changed, 0)
        assert judged(reference, answers, None, "float32").verdict == verdict


@given(st.integers(1, 3000), st.floats(0, 0.01), st.floats(0, 0.01), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_verdict_is_a_function_of_the_counts(count, p_lost, p_won, seed):
    lost, won, _ = np.random.default_rng(seed).multinomial(count, [p_lost, p_won, 1 - p_lost - p_won])
    verdict = verdict_of(Counts(count, int(lost + won), int(lost)), Policy())
    result = judge(count, int(lost), int(won))
    checks = {check.name: check.verdict for check in result.checks}
    assert (checks["accuracy"], checks["agreement"]) == (verdict.accuracy, verdict.agreement)
    assert result.verdict == verdict.overall
    assert (result.drop_low_pp, result.drop_high_pp) == verdict.drop_pp
    assert (result.changed_low, result.changed_high) == verdict.changed


SMALL = BUILT_IN["small"]


@pytest.mark.parametrize(
    ("policy", "share", "power", "labelled"),
    [(Policy(), 0.0005, 0.8, True), (Policy(), 0.001, 0.9, True), (Policy(), 0.0005, 0.8, False),
     (SMALL, 0.02, 0.8, True), (SMALL, 0.0125, 0.9, False)],
)  # fmt: skip
def test_so_many_images_as_planned_let_a_good_file_pass(policy, share, power, labelled):
    """The plan against the real comparison: at least that often on so many images, less often on half as many."""
    random, planned = np.random.default_rng(0), images_needed(share / 2, share / 2, policy, labelled, power)
    runs = 250
    rates = []
    for count in (planned, planned // 2):
        passed = 0
        for lost, won, _ in random.multinomial(count, [share / 2, share / 2, 1 - share], size=runs):
            reference, answers, labels = paired(count, lost, won)
            passed += judged(reference, answers, labels if labelled else None, policy=policy).verdict == PASS
        rates.append(passed / runs)
        # Four standard errors of the share of so many runs.
        expected = chance_of_pass(count, share / 2, share / 2, policy, labelled)
        assert abs(rates[-1] - expected) < 4 * math.sqrt(0.25 / runs)
    assert rates[0] > power - 3 * math.sqrt(power * (1 - power) / runs)
    assert rates[1] < power - 3 * math.sqrt(power * (1 - power) / runs)


@pytest.mark.parametrize(("share", "labelled", "expected"), [(0.0001, True, 1500), (0.0005, False, 4600)])
def test_no_smaller_number_of_images_would_do(share, labelled, expected):
    """Each number at which one more change is allowed raises the chance, and it falls up to the next."""
    needed = images_needed(share / 2, share / 2, Policy(), labelled, 0.9)
    assert needed == expected
    chances = [chance_of_pass(count, share / 2, share / 2, Policy(), labelled) for count in SIZES if count <= needed]
    assert max(chances[:-1]) < 0.9 <= chances[-1]


def test_the_rates_of_the_page_are_those_of_the_verdict():
    """The simulated PASS rates in docs/ci.md against exact sums."""
    page = (ROOT / "docs" / "ci.md").read_text()
    table = page.split("<!-- rates: by benchmarks/verdict.py -->\n")[1].split("\n<!--")[0].splitlines()
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    sizes = [int(title.removesuffix(" images").replace(",", "")) for title in header[2:]]
    assert sizes == [100, 300, 1000, 3000, 10_000]
    assert len(rows) == 20
    for drop_pp, changed, *cells in rows:
        share, drop = float(changed.rstrip("%")) / 100, float(drop_pp) / 100
        for count, cell in zip(sizes, cells, strict=True):
            passed, *others = map(int, cell.split("/"))
            # Four standard errors of a share of 10,000 draws are 2 points; half a point is rounding.
            expected = 100 * chance_of_pass(count, (share + drop) / 2, (share - drop) / 2, Policy())
            assert abs(passed - expected) < 2.5, (drop_pp, changed, count)
            assert 99 <= passed + sum(others) <= 101


@pytest.mark.parametrize(("count", "step"), [(12, 1), (300, 1), (300, 20)])
def test_a_reference_fails_only_if_it_surely_ranks_the_wrong_way_round(count, step):
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for wrong in (0.0, 0.05, 0.2, 0.6):
        labels = np.arange(count, dtype=np.uint8) % 2
        p = (random.integers(0, 100 // step, count) * step / 200 + wrong / 2 * (1 - labels)).astype(np.float32)
        groups = [p[labels == label].astype(np.float64) for label in (1, 0)]
        z, z_by_half = (  # scipy's correction is one half, ties or not
            stats.norm.isf(stats.mannwhitneyu(*groups, half, "less", method="asymptotic").pvalue)
            for half in (False, True)
        )
        tied = np.unique(p, return_counts=True)[1]
        expected = stats.norm.sf(z - (z - z_by_half) * (tied[:-1] + tied[1:]).max() / 2)
        assert chance_of_auc(p, labels) == pytest.approx(expected, rel=1e-9)
        names = [check.name for check in judged(p, p, labels, "float32").checks]
        assert ("reference" in names) == (expected < 0.05)
    same = np.full(count, 0.5, np.float32)
    assert chance_of_auc(same, labels) == chance_of_auc(p, np.ones_like(labels)) == 1.0


@pytest.mark.parametrize(("low", "high", "ones"), [(3, 2, 2), (8, 2, 9), (1, 20, 5), (10, 1, 10), (15, 15, 15)])
def test_ties_do_not_let_a_reference_fail_by_chance(low, high, ones):
    """With two probabilities the exact test is Fisher's: how many of label 1 are among the low ones."""
    stats = pytest.importorskip("scipy.stats")
    p, alarms = np.array([0.0] * low + [1.0] * high, np.float32), 0.0
    for among_low in range(max(0, ones - high), min(ones, low) + 1):
        labels = np.array([1] * among_low + [0] * (low - among_low) + [1] * (ones - among_low), np.uint8)
        labels = np.append(labels, np.zeros(low + high - len(labels), np.uint8))
        if chance_of_auc(p, labels) < 0.05:
            alarms += stats.hypergeom.pmf(among_low, low + high, ones, low)
    assert alarms < 0.05


def test_a_dozen_images_ranked_badly_by_chance_do_not_fail():
    labels = np.array([1, 0] * 6, np.uint8)
    p = np.linspace(0.3, 0.7, 12, dtype=np.float32)
    result = judged(p, p, labels, "float32")
    assert (result.reference.auc < 0.5, result.verdict) == (True, PASS)


def test_no_number_of_images_lets_a_bad_file_pass():
    assert images_needed(0.003, 0.001, Policy()) is None
    assert images_needed(0.0015, 0.0015, Policy(), labelled=False) is None


def advice(result):
    return " ".join(dict.fromkeys(check.advice for check in result.checks))


def test_what_would_settle_it_is_said_once_and_does():
    said = advice(judge(60, 0, 0))
    assert said.count("Test on more images: a file that changes 0.05% of its predictions passes on about 2,400") == 1
    assert chance_of_pass(2400, 0.00025, 0.00025, Policy()) >= 0.8
    # On 10,000 images a good file would have passed, so the question is what this one needs.
    assert "a file that changes as many as this one passes on about" in advice(judge(10_000, 13, 12))
    assert "a file that changes as many as this one will hardly pass" in advice(judge(10_000, 15, 2))
    # Nobody who takes the small policy is told to take it.
    assert "allow more, by --policy small or by limits of your own" in said
    assert "allow more, by limits of your own" in advice(judge(10, 0, 0, policy=SMALL))


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
