"""`oddeven verify`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.options import PATH, check_page, rare_option
from oddeven.runtime.cli.policy_options import policy_options
from oddeven.runtime.cli.progress import progress
from oddeven.runtime.engines.registry import ENGINES
from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.files import check_file, writable_folder, write
from oddeven.runtime.page import check_templates
from oddeven.runtime.parity import sample_size
from oddeven.runtime.parity.check import FAIL, INCONCLUSIVE, PASS
from oddeven.runtime.parity.policy import Policy, load_policy
from oddeven.runtime.parity.thresholds import threshold_rule
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.table import render, shown
from oddeven.runtime.verify.evaluate import evaluate_all
from oddeven.runtime.verify.merge import matrices_to_markdown, merge_reports
from oddeven.runtime.verify.render import github
from oddeven.runtime.verify.render.html import matrices_to_html, to_html
from oddeven.runtime.verify.render.junit import to_junit
from oddeven.runtime.verify.render.markdown import to_markdown
from oddeven.runtime.verify.report import FileReport, Report
from oddeven.runtime.verify.targets import Target, VerifyOptions, find_targets

HEADER = ("file", "engine", "bytes", "reference", "accuracy", "drop pp", "interval", "agreement",
          "lost", "won", "change at most", "verdict")  # fmt: skip
STDOUT = Path("-")
FORMS = {".json": "json", ".xml": "junit", ".md": "markdown", ".html": "html"}  # of a report, by its file's suffix
# What goes with a mode, in which no file is checked.
MODES = {
    "plan": {"plan", "policy_file", *(limit.name for limit in fields(Policy))},
    "merge": {"merge", "artifacts", "reports", *FORMS.values()},
}


def _page(context: click.Context, parameter: click.Parameter, given: Path | None) -> Path | None:
    return given if given == STDOUT else check_page(context, parameter, given)


@click.command()
@click.argument("artifacts", nargs=-1, type=PATH, metavar="ARTIFACTS|MODEL...")
@click.option("--engine", "engines", multiple=True, help=f"Any of {', '.join(ENGINES)}; repeatable.")
@click.option("--reference", type=PATH, help="The reference.npz to hold files to; with --data a float32 model.")
@click.option("--data", type=PATH, help="Folder of images to test on instead, labelled or not.")
@policy_options
@click.option("--baseline", type=PATH, help="An earlier JSON report; predictions that differ from it fail.")
@click.option("--update-baseline", is_flag=True, help="If all other checks pass, write this run to the baseline.")
@click.option(
    "--report", "reports", type=PATH, multiple=True,
    help="Write a report: .html, .md, .xml (JUnit) or .json; repeatable.",
)  # fmt: skip
@click.option("--json", type=PATH, metavar="FILE|-", help="Write the JSON report; - is stdout.")
@rare_option("--junit", type=PATH, help="As --report FILE.xml.")
@rare_option("--markdown", type=PATH, help="As --report FILE.md.")
@rare_option("--html", type=PATH, callback=_page, help="As --report FILE.html.")
@rare_option(
    "--strict/--allow-inconclusive", default=None, help="Whether INCONCLUSIVE fails; the default where CI=true."
)
@rare_option(
    "--max-bad",
    type=click.IntRange(min=0),
    default=0,
    help="Unusable images in --data that are left out before the run is refused.",
)
@rare_option("--threshold-from", type=click.Choice(["float"]), help="Choose thresholds anew on the validation images.")
@rare_option("--cost", help="With --threshold-from: the threshold of least cost, such as fp=1,fn=5.")
@rare_option("--max-fpr", type=FiniteRange(0, 1), help="With --threshold-from: at most this share of false positives.")
@rare_option("--plan", is_flag=True, help="Print on how many images a good file passes, and stop.")
@rare_option("--merge", is_flag=True, help="Compare the predictions in several JSON reports of several machines.")
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
    reports: tuple[Path, ...],
    strict: bool | None,
    threshold_from: str | None,
    cost: str | None,
    max_fpr: float | None,
    plan: bool,
    merge: bool,
    policy_file: Path | None,
    **settings: Any,
) -> None:
    """Check that every exported file still predicts as its Keras model does.

    Needs no TensorFlow. ARTIFACTS are folders made by `oddeven export`, or folders of them; a MODEL file alone needs
    --reference. `lost` and `won` count the images that only the reference, or only the file, gets right; `change at
    most` is the upper limit of the share of predictions that the file changes for the worse or, where the images have
    no labels, changes at all.

    Exit code 1 unless every file passes, 3 where an engine is missing, 4 where a file is broken, 5 where the images or
    the reference are unusable. An INCONCLUSIVE file is a failure under --strict, which is the default where CI=true,
    and a warning under --allow-inconclusive.

    The limits of the gate are set in [tool.oddeven.parity] of ./pyproject.toml. docs/ci.md explains them, and the modes
    --plan (how many images a verdict needs) and --merge (reports of several machines).
    """
    for mode in [name for name in MODES if context.params[name]]:
        _check_mode(context, mode)
    if max_bad and not data and _is_given(context, "max_bad"):
        raise UsageError("--max-bad is about the images of --data; add --data FOLDER or leave it out.")
    outputs = {path: _form(path) for path in reports}
    outputs |= {path: form for form in FORMS.values() if (path := settings.pop(form, None))}
    policy = load_policy(policy_file, **settings)
    if plan:
        click.echo(_plan(policy))
        return
    if not artifacts:
        raise UsageError("Nothing to verify: name an artifact folder or a model file.")
    if update_baseline and not baseline:
        raise UsageError("--update-baseline needs --baseline FILE to write to.")
    if baseline and baseline.resolve() in [path.resolve() for path in outputs]:
        raise UsageError(
            f"A report would take the place of the baseline {baseline}, passing or not; name another file."
        )
    _check_outputs(outputs, [baseline] if baseline and update_baseline else [])
    rule = threshold_rule(cost, max_fpr)
    if (threshold_from is None) != (rule is None):
        raise UsageError("--threshold-from float goes with --cost fp=COST,fn=COST or with --max-fpr SHARE.")
    if merge:
        _merge(artifacts, outputs)
        return
    before = _read_report(baseline) if baseline and not update_baseline else None
    targets = find_targets(artifacts, VerifyOptions(engines, reference, data, max_bad, rule), _note)
    if not targets:
        raise UsageError(f"None of the engines {', '.join(engines)} reads any of these files.")
    with progress(len(targets)) as begins:
        report = evaluate_all(targets, policy, rule, before, begins)
    strict = os.environ.get("CI") == "true" if strict is None else strict
    if STDOUT not in outputs:
        click.echo(render(HEADER, [_row(file) for file in report.files]))
    _say(report, strict)
    references = [target.reference for target in targets if isinstance(target, Target)]
    _write(report, references, outputs, strict)
    code = _exit_code(report, strict)
    if update_baseline and baseline:
        _update(baseline, report, code)
    github.append_summary(report)  # the runner's file is the last, lest it keep the others from being written
    context.exit(code)


def _check_mode(context: click.Context, mode: str) -> None:
    """Refuse a mode that is not asked for in the command, and what it would ignore there (UsageError)."""
    given = [parameter for parameter in context.command.params if _is_given(context, str(parameter.name))]
    if mode not in [parameter.name for parameter in given]:
        raise UsageError(f"With {mode} = true no run checks a file; take it out of pyproject.toml, and give --{mode}.")
    if ignored := [parameter for parameter in given if parameter.name not in MODES[mode]]:
        names = ", ".join(p.human_readable_name if isinstance(p, click.Argument) else p.opts[0] for p in ignored)
        raise UsageError(f"--{mode} checks no file and would ignore {names}; leave out one or the other.")


def _is_given(context: click.Context, name: str) -> bool:
    """Whether the command has the parameter; click before 8.2 says so of ARTIFACTS even where there are none."""
    return context.get_parameter_source(name) == ParameterSource.COMMANDLINE and context.params[name] != ()


def _form(path: Path) -> str:
    if path.suffix not in FORMS:
        raise UsageError(f"--report {path}: its name must end in {', '.join(FORMS)}.")
    return FORMS[path.suffix]


def _check_outputs(outputs: Mapping[Path, str], more: Iterable[Path]) -> None:
    """Find out before the work whether every report can be made and written after it."""
    if "html" in outputs.values():
        check_templates()
    for path in (*outputs, *more):
        check_file(path)
        if path != STDOUT:
            writable_folder(path.absolute().parent)


def _say(report: Report, strict: bool) -> None:
    """What does not pass and what is to be noted, on stderr, and in a GitHub step to GitHub as well."""
    for broken in report.broken:
        click.secho(f"{broken.file}: {broken.reason}", fg="red", err=True)
    for file in report.files:
        name = f"{file.file} on {file.engine}"
        if file.verdict != PASS:
            colour = "red" if strict or file.verdict == FAIL else "yellow"
            click.secho(f"{name}: {file.verdict}. {file.reason}", fg=colour, err=True)
        for note in file.notes:
            _note(f"{name}: {note}")
        for check in file.checks:
            if check.name == "operating point":
                click.echo(f"{name}: {check.reason}", err=True)
    for line in github.workflow_commands(report, strict):
        click.echo(line, err=True)


def _row(file: FileReport) -> tuple[str, ...]:
    parity = file.parity
    return (
        file.file, file.engine, f"{file.size_bytes:,}", shown(parity.reference_accuracy, ".4f"),
        shown(parity.accuracy, ".4f"), shown(parity.drop_pp, "+.2f"),
        "-" if parity.drop_pp is None else f"{parity.drop_low_pp:+.2f} to {parity.drop_high_pp:+.2f}",
        f"{parity.agreement:.2%}", shown(parity.right_to_wrong, "d"), shown(parity.wrong_to_right, "d"),
        f"{parity.changed_high:.2%}", file.verdict,
    )  # fmt: skip


def _exit_code(report: Report, strict: bool) -> int:
    if report.broken:
        return ModelError.exit_code
    verdicts = {file.verdict for file in report.files}
    return 0 if verdicts and verdicts <= ({PASS} if strict else {PASS, INCONCLUSIVE}) else 1


def _write(report: Report, references: Iterable[Reference], outputs: Mapping[Path, str], strict: bool) -> None:
    makers = {
        "json": lambda: to_json(report),
        "junit": lambda: to_junit(report, strict),
        "markdown": lambda: to_markdown(report),
        "html": lambda: to_html(report, {reference.data_sha256: reference for reference in references}),
    }
    for path, form in outputs.items():
        _give(path, makers[form]())


def _give(path: Path, text: str) -> None:
    if path == STDOUT:
        click.echo(text, nl=False)
    else:
        write(path, text)


def _update(baseline: Path, report: Report, code: int) -> None:
    if code:
        _note(f"{baseline} is left as it was, for this run does not pass.")
    else:
        write(baseline, to_json(report))
        files = f"{len(report.files)} file{'s' * (len(report.files) != 1)}"
        click.echo(f"{baseline} now holds {files}; commit it.", err=True)


def _merge(paths: tuple[Path, ...], outputs: Mapping[Path, str]) -> None:
    """Print the matrix of several reports, and write it to `outputs`."""
    makers = {"markdown": matrices_to_markdown, "html": matrices_to_html}
    if unfit := set(outputs.values()) - set(makers):
        raise UsageError(f"--merge writes Markdown and HTML, not {min(unfit)}.")
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else map(str, paths)
    matrices = merge_reports({name: _read_report(path) for name, path in zip(names, paths, strict=True)})
    for path, form in {STDOUT: "markdown", **outputs}.items():
        _give(path, makers[form](matrices))


def _plan(policy: Policy) -> str:
    header, rows = sample_size.plan(policy)
    note = (
        "The least number of images on which a file passes with a probability of 80% or 90%, on accuracy and\n"
        "agreement together, if it changes that share of its predictions, half of them for the worse. A dash: over\n"
        "100,000. The shipped models change 0.00% to 0.02%."
    )
    return f"{render(header, rows)}\n\n{note}"


def _read_report(path: Path) -> Report:
    try:
        return from_json(Report, path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"Cannot read the report {path}: {error.strerror}; make one with --json FILE.") from error
    except ModelError as error:
        raise DataError(f"{str(error).rstrip('.')}. Make the report anew with --json FILE.") from error


def _note(sentence: str) -> None:
    click.secho(sentence, fg="yellow", err=True)
