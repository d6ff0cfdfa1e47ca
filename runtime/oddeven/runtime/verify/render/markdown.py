"""The report as Markdown, for a pull request or a terminal; and the words that the HTML page shows as well."""

from __future__ import annotations

import re

from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS
from oddeven.runtime.table import render, shown
from oddeven.runtime.verify.recommendation import by_model, float32_of, recommend
from oddeven.runtime.verify.report import Report

HEADER = ("model", "format", "engine", "bytes", "ratio", "accuracy", "drop pp (interval)", "agreement", "latency us",
          "verdict")  # fmt: skip


def to_markdown(report: Report) -> str:
    """The whole report but its pictures: summary, what did not pass, recommendations, policy, machine and versions."""
    rows = [[_plain(cell) for cell in row] for row in summary(report)]
    failed = [
        f"- {_plain(file.file)} on {file.engine}: {file.verdict}. {_plain(f'{file.reason} {file.advice}')}"
        for file in report.files
        if file.verdict != PASS
    ]
    notes = [f"- {_plain(file.file)} on {file.engine}: {_plain(note)}" for file in report.files for note in file.notes]
    failed += [f"- {_plain(broken.file)}: could not be checked. {_plain(broken.reason)}" for broken in report.broken]
    parts = [
        f"# Parity report: {overall(report)}\n",
        render(HEADER, rows, markdown=True) + "\n",
        *(["## Files that do not pass\n", *failed, ""] if failed else []),
        *(["## Notes\n", *notes, ""] if notes else []),
        "## Recommendation\n",
        *(f"- {_plain(line)}" for line in recommend(report.files)),
        "\n## Policy and machine\n",
        *(f"- {_plain(name)}: {_plain(value)}" for name, value in facts(report)),
    ]
    return "\n".join(parts) + "\n"


def overall(report: Report) -> str:
    """The worst verdict of all files; FAIL where one is broken, INCONCLUSIVE where there is none."""
    verdicts = {file.verdict for file in report.files} or {INCONCLUSIVE}
    verdicts |= {FAIL} if report.broken else set()
    return next(verdict for verdict in (FAIL, INCONCLUSIVE, PASS) if verdict in verdicts)


def summary(report: Report) -> list[tuple[str, ...]]:
    """A row a file, as `HEADER`; the ratio is of bytes to those of the float32 file of the same model and kind."""
    rows: list[tuple[str, ...]] = []
    for name, file in ((name, file) for name, files in by_model(report.files).items() for file in files):
        parity, whole = file.parity, float32_of(file, report.files)
        rows.append((
            name, file.format, file.engine, f"{file.size_bytes:,}",
            f"{file.size_bytes / whole.size_bytes:.2f}" if whole else "-", shown(parity.accuracy, ".4f"),
            "-" if parity.drop_pp is None
            else f"{parity.drop_pp:+.2f} ({parity.drop_low_pp:+.2f} to {parity.drop_high_pp:+.2f})",
            f"{parity.agreement:.2%}", f"{file.latency_us:.1f}", file.verdict,
        ))  # fmt: skip
    return rows


def facts(report: Report) -> list[tuple[str, str]]:
    """What the verdicts rest on, by name: the policy, the machine, the versions, and what the run took."""
    policy = report.policy
    ties = [
        (f"{precision} files may change an answer", f"where the reference is within {tie.margin:g} of the threshold "
         f"and the probability moves by at most {tie.step:g}")
        for precision, tie in policy.ties.items()
    ]  # fmt: skip
    gains = "" if policy.count_gains else " (a change for the better does not count)"
    limits = (
        f"drop at most {policy.max_drop_pp:.2f} pp, its upper limit at most {policy.max_upper_pp:.2f} pp, agreement at "
        f"least {policy.min_agreement:.2%} by its lower limit{gains}; limits are one-sided, at "
        f"{100 * policy.confidence:g}% confidence"
    )
    return [
        ("Quantized files pass with", limits),
        *ties,
        *(("Calibration check", f"{stability}.") for stability in report.stability),
        ("Machine", report.machine),
        ("CPU features", ", ".join(report.cpu_features) or "none of those that matter, or not known"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("Time", f"{report.seconds:.1f} s"),
        ("Peak memory", f"{report.peak_memory_mb:.0f} MB"),
    ]


def _plain(text: str) -> str:
    """`text` on one line, its Markdown signs escaped; a single underscore inside a word is none."""
    return re.sub(r"[\\|<*`\[]", r"\\\g<0>", " ".join(text.split()))
