"""`oddeven export`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from oddeven.export.calibration import DEFAULT_SIZE
from oddeven.export.formats import DEFAULTS, FORMATS
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.cli.options import policy_options
from oddeven.runtime.cli.progress import progress
from oddeven.runtime.device.host_info import cpu_features, cpu_name, peak_memory_mb
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError, UsageError, choose
from oddeven.runtime.files import alone_in, writable_folder, write
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.parity.policy import Policy, load_policy
from oddeven.runtime.parity.thresholds import threshold_rule
from oddeven.runtime.process import importing
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.table import render, shown
from oddeven.runtime.verify.recommendation import recommend
from oddeven.runtime.verify.render.html import to_html
from oddeven.runtime.verify.render.markdown import to_markdown
from oddeven.runtime.verify.report import Report, Stability
from oddeven.train.data.registry import training_dataset


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.keras...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True)
@click.option("--format", "formats", multiple=True, help=f"Any of {', '.join(FORMATS)}; repeatable.")
@click.option(
    "--io",
    "ends",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    show_default=True,
    help="What a full integer TFLite file takes and gives.",
)
@click.option("--full-range", is_flag=True, help="8-bit ONNX weights, right only on CPUs with VNNI or dot product.")
@click.option("--reduce-range", is_flag=True, hidden=True, expose_value=False)  # deprecated: the default
@click.option("--from-logits", is_flag=True, help="The models end in a logit; append the sigmoid.")
@click.option("--calibration-size", type=click.IntRange(min=1), help=f"[default: {DEFAULT_SIZE}, or all there are]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Where the models' pictures lie, if not where they were trained on."
)
@click.option("--calibration-seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--calibration-check", is_flag=True, help="Quantize from two other draws as well, and compare.")
@click.option("--cost", metavar="fp=COST,fn=COST", help="Choose thresholds on validation: the least cost.")
@click.option("--max-fpr", type=click.FloatRange(0, 1), help="Or: with at most such a share of false positives.")
@policy_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    context: click.Context,
    /,
    models: tuple[Path, ...],
    out: Path,
    formats: tuple[str, ...],
    ends: str,
    full_range: bool,
    from_logits: bool,
    calibration_size: int | None,
    calibration_seed: int,
    calibration_check: bool,
    data: Path | None,
    cost: str | None,
    max_fpr: float | None,
    as_json: bool,
    policy_file: Path | None,
    **settings: float | None,
) -> None:
    """Export Keras models to OUT/<model>/ in every format, and prove each file on the test pictures.

    Writes OUT/parity.json, parity.md and report.html. Without --format it makes all but int16x8, which no TFLite
    engine runs fast. Exit code 1 unless every file passes.
    """
    chosen = tuple(dict.fromkeys(choose("format", name, FORMATS) for name in formats or DEFAULTS))
    policy, choice = load_policy(policy_file, **settings), threshold_rule(cost, max_fpr)
    specs = [_spec(path) for path in models]
    _apart(models, specs)
    trained_on = [training_dataset(path, spec, data) for path, spec in zip(models, specs, strict=True)]
    context.with_resource(alone_in(writable_folder(out)))
    _import_converters()
    from oddeven.export.export import Settings, export

    wanted = Settings(
        chosen, policy, calibration_size, calibration_seed, ends == "float32", full_range, from_logits,
        calibration_check, choice,
    )  # fmt: skip
    checked = sum(FORMATS[name].calibrated for name in chosen) if calibration_check else 0
    start = time.perf_counter()
    exported = []
    with progress(len(models) * (len(chosen) + checked)) as step:
        for path, spec, dataset in zip(models, specs, trained_on, strict=True):
            exported.append(export(path, dataset, wanted, out / spec.name, step, _warn))
    report = Report(
        policy=policy,
        machine=cpu_name(),
        versions=exported[0].manifest.versions,
        seconds=time.perf_counter() - start,
        peak_memory_mb=peak_memory_mb(),
        files=tuple(file for done in exported for file in done.files),
        stability=tuple(found for done in exported for found in done.stability),
        cpu_features=cpu_features(),
    )
    _say(report.stability, policy)
    _write(report, {done.reference.data_sha256: done.reference for done in exported}, out)
    click.echo(to_json(report) if as_json else _table(report, out), nl=not as_json)
    context.exit(0 if all(file.verdict == PASS for file in report.files) else 1)


def _spec(path: Path) -> ModelSpec:
    """The spec of the model in `path`, before anything heavy is imported.

    Raises:
        ModelError: there is no such file, or it carries no spec.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.")
    spec = read_spec(path)
    if spec is None:
        raise ModelError(f"{path} carries no ModelSpec, or is damaged; make one with: oddeven train")
    return spec


def _apart(models: tuple[Path, ...], specs: list[ModelSpec]) -> None:
    """Refuse two models of one name, which would go to one folder (UsageError)."""
    first: dict[str, Path] = {}
    for path, spec in zip(models, specs, strict=True):
        if (other := first.setdefault(spec.name, path)) != path:
            raise UsageError(f"{other} and {path} are both called {spec.name!r}; export each to an --out of its own.")


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)


def _say(found: tuple[Stability, ...], policy: Policy) -> None:
    """What the calibration check found; a warning where other pictures change more answers than a file may."""
    for stability in found:
        if 1 - stability.differing / stability.count < policy.min_agreement:
            _warn(f"{stability}; raise --calibration-size.")
        else:
            click.echo(f"{stability}.", err=True)


def _write(report: Report, references: dict[str, Reference], out: Path) -> None:
    """The report in its three forms."""
    write(out / "parity.json", to_json(report))
    write(out / "parity.md", to_markdown(report))
    write(out / "report.html", to_html(report, references))


def _table(report: Report, out: Path) -> str:
    """The report as a terminal shows it."""
    rows = [
        (out / file.file, f"{file.size_bytes:,}", shown(file.parity.accuracy, ".4f"),
         shown(file.parity.drop_pp, "+.2f"), f"{file.parity.agreement:.2%}", f"{file.latency_us:.1f}", file.verdict)
        for file in report.files
    ]  # fmt: skip
    header = ("file", "bytes", "accuracy", "drop pp", "agreement", "us", "verdict")
    reasons = [f"{out / file.file}: {file.verdict}. {file.reason}" for file in report.files if file.verdict != PASS]
    reasons += [f"{out / file.file}: {note}" for file in report.files for note in file.notes]
    return "\n".join([render(header, rows), "", *reasons, *recommend(report.files), f"Report: {out / 'report.html'}"])


def _import_converters() -> None:
    """Import TensorFlow and ONNX without their start-up chatter, or say how to install them."""
    with importing("TensorFlow and ONNX", "Exporting", "export"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tensorflow as tf
        import tf2onnx  # noqa: F401

        tf.config.list_physical_devices()
