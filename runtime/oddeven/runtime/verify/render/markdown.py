"""The report as Markdown, for a pull request or a terminal, and the facts and rows that the HTML page shows as well."""

from __future__ import annotations

import re

from oddeven.runtime.parity.check import PASS
from oddeven.runtime.table import render, shown
from oddeven.runtime.verify.recommendation import by_model, float32_of, recommend
from oddeven.runtime.verify.report import Report

HEADER = ("model", "format", "engine", "bytes", "ratio", "accuracy", "drop pp (interval)", "agreement", "latency us",
          "verdict")  # fmt: skip


def to_markdown(report: Report) -> str:
    """The whole report but its images: summary, what did not pass, recommendations, policy, machine and versions."""
    failed = [
        f"{file.file} on {file.engine}: {file.verdict}. {file.reason} {file.advice}"
        for file in report.files
        if file.verdict != PASS
    ]
    failed += [f"{broken.file}: could not be checked. {broken.reason}" for broken in report.broken]
    sections = {
        "Files that do not pass": failed,
        "Notes": [f"{file.file} on {file.engine}: {note}" for file in report.files for note in file.notes],
        "Recommendation": recommend(report.files),
        "Policy and machine": [f"{name}: {value}" for name, value in facts(report)],
    }
    rows = [[escape(cell) for cell in row] for row in summary(report)]
    parts = [f"# Parity report: {report.verdict}", render(HEADER, rows, markdown=True)]
    for title, lines in sections.items():
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {escape(line)}" for line in lines))
    return "\n\n".join(parts) + "\n"


def summary(report: Report) -> list[tuple[str, ...]]:
    """A row for each file, as `HEADER`; the ratio is to the bytes of the float32 file of the same model and kind."""
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
    """What the verdicts rest on, by name: the policy, the machine, the versions, and the cost of the run."""
    policy = report.policy
    tolerances = [
        (f"{precision} files may change a prediction", f"where the reference is within {tie.margin:g} of the "
         f"threshold and the probability moves by at most {tie.step:g}")
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
        *tolerances,
        *(("Calibration check", f"{stability}.") for stability in report.stability),
        ("Machine", report.machine),
        ("CPU features", ", ".join(report.cpu_features) or "none of those that matter, or not known"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("Time", f"{report.seconds:.1f} s"),
        ("Peak memory", f"{report.peak_memory_mb:.0f} MB"),
    ]


def escape(text: str) -> str:
    """`text` on one line, its Markdown signs escaped; an underscore inside a word is not one."""
    return re.sub(r"[\\|<*`\[]", r"\\\g<0>", " ".join(text.split()))
