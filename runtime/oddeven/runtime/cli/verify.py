"""`oddeven verify`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oddeven.runtime.cli.policy_options import policy_options
from oddeven.runtime.cli.progress import progress
from oddeven.runtime.engines.registry import ENGINES
from oddeven.runtime.errors import DataError, ModelError, OutputError, UsageError
from oddeven.runtime.files import writable_folder, write
from oddeven.runtime.parity.policy import load_policy
from oddeven.runtime.table import render, shown

if TYPE_CHECKING:
    from oddeven.runtime.artifacts.reference import Reference
    from oddeven.runtime.parity.policy import Policy
    from oddeven.runtime.verify.report import FileReport, Report
    from oddeven.runtime.verify.targets import VerifyOptions

HEADER = ("file", "engine", "bytes", "reference", "accuracy", "drop pp", "interval", "agreement",
          "lost", "won", "change at most", "verdict")  # fmt: skip
STDOUT = Path("-")
PARTS = (0.0, 0.05, 0.25, 0.5, 1.0)  # of what the policy allows to change
POWERS = (0.8, 0.9)
FORMS = ("json", "junit", "markdown", "html")

file_path = click.Path(path_type=Path)


@click.command()
@click.argument("artifacts", nargs=-1, type=file_path, metavar="ARTIFACTS|MODEL...")
@click.option("--engine", "engines", multiple=True, help=f"Any of {', '.join(ENGINES)}; repeatable.")
@click.option("--reference", type=file_path, help="reference.npz to hold files to; or, with --data, a float32 model.")
@click.option(
    "--data", type=file_path, help="Folder of pictures to ask about instead; labelled where a subfolder a label."
)
@click.option("--max-bad", type=click.IntRange(min=0), default=0, help="Unusable pictures in --data.  [default: 0]")
@policy_options
@click.option("--baseline", type=file_path, help="An earlier --json FILE; answers that differ from its fail.")
@click.option("--update-baseline", is_flag=True, help="Write this run to the baseline, if it passes otherwise.")
@click.option("--strict/--allow-inconclusive", default=None, help="INCONCLUSIVE fails.  [default: where CI=true]")
@click.option("--json", "json_file", type=file_path, metavar="FILE|-", help="The whole report; - is stdout.")
@click.option("--junit", type=file_path, metavar="FILE", help="For CI systems: a case a file and check.")
@click.option("--markdown", type=file_path, metavar="FILE", help="For a pull request.")
@click.option("--html", type=file_path, metavar="FILE", help="One page, with every picture whose answer changed.")
@click.option("--threshold-from", type=click.Choice(["float"]), help="Choose thresholds on validation pictures.")
@click.option("--cost", metavar="fp=COST,fn=COST", help="With --threshold-from: the threshold with the least cost.")
@click.option("--max-fpr", type=click.FloatRange(0, 1), help="Or: with at most such a share of false positives.")
@click.option("--plan", is_flag=True, help="Say on how many pictures a good file passes, and stop.")
@click.option("--merge", is_flag=True, help="Compare the answers in several --json FILEs, of several machines.")
@click.pass_context
def command(
    context: click.Context,
    /,
    artifacts: tuple[Path, ...],
    engines: tuple[str, ...],
    reference: Path | None,
    data: Path | None,
    max_bad: int,
    baseline: Path | None,
    update_baseline: bool,
    strict: bool | None,
    threshold_from: str | None,
    cost: str | None,
    max_fpr: float | None,
    plan: bool,
    merge: bool,
    policy_file: Path | None,
    **settings: float | Path | None,
) -> None:
    """Check that every file still answers as its Keras model did.

    Needs no TensorFlow. ARTIFACTS are folders made by `oddeven export`, or folders of them; a MODEL file alone needs
    --reference. `lost` and `won` count the pictures that only the reference, or only the file, gets right; `change at
    most` is the upper limit of the share of predictions that the file changes for the worse, or at all where the
    pictures have no labels.

    Exit code 1 unless every file passes, 3 where an engine is missing, 4 where a file is broken, 5 where the pictures
    or the reference are unusable. An INCONCLUSIVE file is a failure under --strict and a warning otherwise.
    """
    outputs = {"json": settings.pop("json_file"), **{form: settings.pop(form) for form in FORMS[1:]}}
    written = {form: path for form, path in outputs.items() if isinstance(path, Path)}
    policy = load_policy(policy_file, **settings)  # type: ignore[arg-type]
    if plan:
        click.echo(_plan(policy))
        return
    if not artifacts:
        raise UsageError("Nothing to verify: name an artifact folder or a model file.")
    if update_baseline and not baseline:
        raise UsageError("--update-baseline needs --baseline FILE to write to.")
    for path in (*written.values(), *([baseline] if baseline and update_baseline else [])):
        _writable(path)
    from oddeven.runtime.parity.thresholds import threshold_rule

    choice = threshold_rule(cost, max_fpr)
    if (threshold_from is None) != (choice is None):
        raise UsageError("--threshold-from float goes with --cost fp=COST,fn=COST or with --max-fpr SHARE.")
    if merge:
        _merge(artifacts, written)
        return
    from oddeven.runtime.verify.targets import VerifyOptions

    asked = VerifyOptions(engines, reference, data, max_bad, choice)
    report, references = _verify(artifacts, asked, policy, baseline if not update_baseline else None)
    strict = os.environ.get("CI") == "true" if strict is None else strict
    _say(report, strict, table=written.get("json") != STDOUT)
    _write(report, references, written, strict)
    code = _exit_code(report, strict)
    if update_baseline and baseline:
        _update(baseline, report, code)
    context.exit(code)


def _verify(
    paths: tuple[Path, ...], asked: VerifyOptions, policy: Policy, baseline: Path | None
) -> tuple[Report, dict[str, Reference]]:
    """Run the gate; the report, and the references by the hash of their pictures."""
    from oddeven.runtime.device.host_info import cpu_features, cpu_name, peak_memory_mb
    from oddeven.runtime.engines.registry import engine_version
    from oddeven.runtime.schema import from_json
    from oddeven.runtime.verify.baseline import missing_files
    from oddeven.runtime.verify.evaluate import evaluate
    from oddeven.runtime.verify.report import Broken, Report
    from oddeven.runtime.verify.targets import find_targets

    before = from_json(Report, _read(baseline), str(baseline)) if baseline else None
    start = time.perf_counter()
    files: list[FileReport] = []
    broken: list[Broken] = []
    references: dict[str, Reference] = {}
    targets = find_targets(paths, asked, _note)
    if not targets:
        raise UsageError(f"None of the engines {', '.join(asked.engines)} reads any of these files.")
    with progress(len(targets)) as begins:
        for target in targets:
            begins(target.file if isinstance(target, Broken) else f"{target.path} on {target.engine}")
            found = target if isinstance(target, Broken) else evaluate(target, asked, policy, before)
            if isinstance(found, Broken):
                broken.append(found)
            else:
                files.append(found)
                if not isinstance(target, Broken):
                    references[found.data_sha256] = target.reference
    if before:
        broken += missing_files(files, before)
    report = Report(
        policy=policy,
        machine=cpu_name(),
        versions={name: engine_version(name) for name in dict.fromkeys(file.engine for file in files)},
        seconds=time.perf_counter() - start,
        peak_memory_mb=peak_memory_mb(),
        files=tuple(files),
        broken=tuple(broken),
        cpu_features=cpu_features(),
    )
    return report, references


def _say(report: Report, strict: bool, table: bool) -> None:
    """The table on stdout; what does not pass on stderr, and in a GitHub step to GitHub as well."""
    from oddeven.runtime.parity.check import FAIL, PASS
    from oddeven.runtime.verify.render import github

    if table:
        click.echo(render(HEADER, [_cells(file) for file in report.files]))
    for broken in report.broken:
        click.secho(f"{broken.file}: {broken.reason}", fg="red", err=True)
    for file in report.files:
        if file.verdict != PASS:
            colour = "red" if strict or file.verdict == FAIL else "yellow"
            click.secho(f"{file.file} on {file.engine}: {file.verdict}. {file.reason}", fg=colour, err=True)
        for note in file.notes:
            click.secho(f"{file.file} on {file.engine}: {note}", fg="yellow", err=True)
        for check in file.checks:
            if check.name == "operating point":
                click.echo(f"{file.file} on {file.engine}: {check.reason}", err=True)
    for line in github.workflow_commands(report):
        click.echo(line, err=True)
    github.summarise(report)


def _cells(file: FileReport) -> tuple[str, ...]:
    parity = file.parity
    return (
        file.file,
        file.engine,
        f"{file.size_bytes:,}",
        shown(parity.reference_accuracy, ".4f"),
        shown(parity.accuracy, ".4f"),
        shown(parity.drop_pp, "+.2f"),
        "-" if parity.drop_pp is None else f"{parity.drop_low_pp:+.2f} to {parity.drop_high_pp:+.2f}",
        f"{parity.agreement:.2%}",
        shown(parity.right_to_wrong, "d"),
        shown(parity.wrong_to_right, "d"),
        f"{parity.changed_high:.2%}",
        file.verdict,
    )


def _exit_code(report: Report, strict: bool) -> int:
    from oddeven.runtime.parity.check import INCONCLUSIVE, PASS

    verdicts = {file.verdict for file in report.files}
    if report.broken:
        return ModelError.exit_code
    return 0 if verdicts and verdicts <= ({PASS} if strict else {PASS, INCONCLUSIVE}) else 1


def _write(report: Report, references: Mapping[str, Reference], written: Mapping[str, Path], strict: bool) -> None:
    """The report in each form that was asked for."""
    from oddeven.runtime.schema import to_json
    from oddeven.runtime.verify.render.html import to_html
    from oddeven.runtime.verify.render.junit import to_junit
    from oddeven.runtime.verify.render.markdown import to_markdown

    forms = {
        "json": lambda: to_json(report),
        "junit": lambda: to_junit(report, strict),
        "markdown": lambda: to_markdown(report),
        "html": lambda: to_html(report, references),
    }
    for form, path in written.items():
        if path == STDOUT:
            click.echo(forms[form](), nl=False)
        else:
            write(path, forms[form]())


def _update(baseline: Path, report: Report, code: int) -> None:
    from oddeven.runtime.schema import to_json

    if code:
        click.echo(f"{baseline} is left as it was, for this run does not pass.", err=True)
    else:
        write(baseline, to_json(report))
        click.echo(f"{baseline} now holds {len(report.files)} files; commit it.", err=True)


def _merge(paths: tuple[Path, ...], written: Mapping[str, Path]) -> None:
    """Print the matrix of several reports, and write it where that was asked for."""
    from oddeven.runtime.schema import from_json
    from oddeven.runtime.verify.merge import matrices_to_html, matrices_to_markdown, merge_reports
    from oddeven.runtime.verify.report import Report

    if unfit := set(written) - {"markdown", "html"}:
        raise UsageError(f"--merge writes --markdown and --html, not --{min(unfit)}.")
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else map(str, paths)
    matrices = merge_reports(
        {name: from_json(Report, _read(path), str(path)) for name, path in zip(names, paths, strict=True)}
    )
    forms = {"markdown": matrices_to_markdown, "html": matrices_to_html}
    for form, path in written.items():
        write(path, forms[form](matrices))
    click.echo(matrices_to_markdown(matrices), nl=False)


def _plan(policy: Policy) -> str:
    """On how many pictures a file passes, by how many predictions it changes and how likely it is to pass."""
    from oddeven.runtime.parity.sample_size import images_needed

    kinds = [(labelled, power) for labelled in (True, False) for power in POWERS]
    header = ("changed", *(f"{'labelled' if labelled else 'unlabelled'}, {power:.0%}" for labelled, power in kinds))
    rows = []
    for share in dict.fromkeys(part * policy.max_changed for part in PARTS):
        needed = (images_needed(share / 2, share / 2, policy, *kind) for kind in kinds)
        rows.append((f"{share:.2%}", *(shown(count, ",") for count in needed)))
    note = (
        "The pictures on which a file passes with a probability of 80% or 90%, on accuracy and agreement together,\n"
        "where it changes that share of its predictions, half of them for the worse. A dash: over 100,000.\n"
        "The shipped models change 0.00% to 0.02%."
    )
    return f"{render(header, rows)}\n\n{note}"


def _writable(path: Path) -> None:
    """Find out before the work whether `path` can be written after it."""
    if path == STDOUT:
        return
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder.")
    writable_folder(path.absolute().parent)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read the report {path}: {error.strerror}; make one with --json FILE.") from error


def _note(sentence: str) -> None:
    click.secho(sentence, fg="yellow", err=True)
