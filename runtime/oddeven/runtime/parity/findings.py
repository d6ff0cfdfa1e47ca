"""What a comparison found, as checks in words: each a verdict, a reason, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from oddeven.runtime.arrays import Labels, Probabilities
from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS, Check, verdict_on
from oddeven.runtime.parity.metrics import auc, chance_of_auc
from oddeven.runtime.parity.policy import BUILT_IN, Policy
from oddeven.runtime.parity.sample_size import images_needed
from oddeven.runtime.parity.statistics import drop_interval
from oddeven.runtime.parity.verdict import Counts, Verdict

# The shipped models' files change 0.00 % to 0.02 % of their predictions, those of freshly trained ones up to 0.05 %.
GOOD, POWER = 0.0005, 0.8
MEND = "Look at the changed images in the HTML report; raise --calibration-size, or ship a float file of this model."


def on_reference(p: Probabilities, labels: Labels, policy: Policy) -> list[Check]:
    """A failure where the reference's `p` is surely worse than chance, for it proves nothing then."""
    if chance_of_auc(p, labels) >= 1.0 - policy.confidence:
        return []
    reason = f"The reference itself ranks the labels the wrong way round (AUC {auc(p, labels):.3f})."
    return [Check("reference", FAIL, reason, "Look for swapped labels or another preprocessing.")]


def on_equality(differing: int, excused: int) -> Check:
    """The check of a file that must predict exactly as its reference does.

    Args:
        differing: changed predictions.
        excused: further ones, changed by rounding at the threshold.
    """
    reason = "Every prediction is the reference's."
    if excused:
        reason = f"Every prediction is the reference's but {excused} at the threshold, by rounding."
    if differing:
        reason = f"A float file must predict as its reference does; {differing} predictions differ."
    advice = "Export it again; if that changes nothing, report a bug."
    return verdict_on("float equality", not differing, reason, advice)


def on_counts(counts: Counts, verdict: Verdict, policy: Policy) -> list[Check]:
    """The checks of accuracy, where labels are known, and of agreement."""
    advice = {PASS: "", FAIL: MEND, INCONCLUSIVE: ""}
    if verdict.overall == INCONCLUSIVE:
        advice[INCONCLUSIVE] = _what_would_settle_it(counts, policy)
    checks = []
    if verdict.accuracy is not None:
        checks.append(Check("accuracy", verdict.accuracy, _drop(counts, verdict, policy), advice[verdict.accuracy]))
    return [
        *checks,
        Check("agreement", verdict.agreement, _changed(counts, verdict, policy), advice[verdict.agreement]),
    ]


def on_slices(groups: Mapping[str, Counts], policy: Policy) -> Check:
    """Whether no group of images surely loses more than all together may.

    Each group has an interval of its own, so each gets a share of the risk of a false alarm (Bonferroni).
    """
    confidence = 1.0 - (1.0 - policy.confidence) / len(groups)
    losing = []
    for name, counts in groups.items():
        lost, won = counts.lost or 0, counts.won or 0
        if 100.0 * drop_interval(lost, won, counts.count, confidence)[0] > policy.max_drop_pp:
            losing.append(f"{name} ({lost} of {counts.count:,} lost, {won} won)")
    reason = f"In no slice is the drop surely over {policy.max_drop_pp:.2f} pp."
    if losing:
        reason = f"The drop is surely over {policy.max_drop_pp:.2f} pp in the slices {', '.join(losing)}."
    return verdict_on("slices", not losing, reason, MEND)


def _drop(counts: Counts, verdict: Verdict, policy: Policy) -> str:
    low_pp, high_pp = verdict.drop_pp or (0.0, 0.0)
    sure, most, margin = _sure(policy), f"{policy.max_drop_pp:.2f} pp", f"{policy.max_upper_pp:.2f} pp"
    if verdict.accuracy == FAIL:
        return f"The drop is at least {low_pp:.2f} pp {sure}; allowed is {most}."
    if verdict.accuracy == PASS:
        return f"The drop is at most {high_pp:.2f} pp {sure}; allowed is {margin}."
    if (counts.drop_pp or 0.0) > policy.max_drop_pp:
        found = f"The drop is {counts.drop_pp:.2f} pp here, over the {most} allowed"
        return f"{found}, but may be as small as {low_pp:.2f} pp {sure}."
    return f"The drop may be as large as {high_pp:.2f} pp {sure}; allowed is {margin}."


def _changed(counts: Counts, verdict: Verdict, policy: Policy) -> str:
    how = ""
    if counts.lost is not None and not policy.count_gains:
        how = f" for the worse, {counts.won:,} for the better" if counts.won else " for the worse"
    found = f"{f'{verdict.counted:,}' if verdict.counted else 'None'} of {counts.count:,} predictions changed{how}"
    if not policy.max_changed:
        return f"{found}; none is allowed to."
    low, high = verdict.changed
    limits = {
        PASS: f"at most {high:.2%}",
        FAIL: f"at least {low:.2%}",
        INCONCLUSIVE: f"between {low:.2%} and {high:.2%}" if verdict.counted else f"at most {high:.2%}",
    }
    return f"{found}: {_sure(policy)} {limits[verdict.agreement]} of all would; allowed is {policy.max_changed:.2%}."


def _sure(policy: Policy) -> str:
    return f"at {100 * policy.confidence:g}% confidence"


def _what_would_settle_it(counts: Counts, policy: Policy) -> str:
    """How many images a good file needs to pass or, where there are as many already, how many this one needs."""
    labelled, share = counts.lost is not None, min(GOOD, policy.max_changed / 4.0)
    needed = images_needed(share / 2.0, share / 2.0, policy, labelled, POWER)
    which = f"a file that changes {share:.2%} of its predictions"
    if needed and needed <= counts.count:
        lost = counts.changed if counts.lost is None else counts.lost
        won = counts.changed - lost
        needed = images_needed(lost / counts.count, won / counts.count, policy, labelled, POWER)
        which = "a file that changes as many as this one"
    small = "--policy small or by " if policy.max_changed < BUILT_IN["small"].max_changed else ""
    allow = f"Or allow more, by {small}limits of your own."
    if not needed:
        return f"Look at the changed images: {which} will hardly pass on any number of them. {allow}"
    return f"Test on more images: {which} passes on about {needed:,} with {POWER:.0%} probability. {allow}"
