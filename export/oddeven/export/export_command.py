"""`oddeven export`."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from oddeven.export.calibration import DEFAULT_SIZE
from oddeven.export.conversion import About
from oddeven.export.export import Settings, export_model
from oddeven.export.formats import DEFAULTS, FORMATS
from oddeven.export.keras_model import SAY, read_keras_spec
from oddeven.export.own_model import OwnModel, describe
from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.options import PATH, rare_option
from oddeven.runtime.cli.policy_options import policy_options
from oddeven.runtime.cli.progress import progress
from oddeven.runtime.device.host_info import cpu_features, cpu_name, peak_memory_mb
from oddeven.runtime.errors import UsageError, choose
from oddeven.runtime.files import alone_in, writable_folder, write
from oddeven.runtime.images.preprocess import PREPROCESSINGS
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.parity.policy import Policy, load_policy
from oddeven.runtime.parity.thresholds import threshold_rule
from oddeven.runtime.process import importing
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import LOCALE
from oddeven.runtime.table import render, shown
from oddeven.runtime.value_range import RANGES, two_labels
from oddeven.runtime.verify.recommendation import recommend
from oddeven.runtime.verify.render.html import to_html
from oddeven.runtime.verify.render.markdown import to_markdown
from oddeven.runtime.verify.report import Report
from oddeven.train.data.registry import training_dataset

HEADER = ("file", "bytes", "accuracy", "drop pp", "agreement", "us", "verdict")


@click.command()
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL...")
@click.option("--out", type=PATH, default=Path("artifacts"), show_default=True)
@click.option("--format", "formats", multiple=True, help=f"Any of {', '.join(FORMATS)}; repeatable.")
@click.option("--data", type=PATH, help="Where the training images are, if they were moved.")
@click.option("--labels", metavar="A,B", help="The labels 0 and 1 of a model from elsewhere; needs --data.")
@click.option(
    "--range",
    "range_name",
    type=click.Choice(list(RANGES)),
    metavar="RANGE",
    help=f"The values that such a model expects for pixels: {', '.join(RANGES)}.  [default: found out]",
)
@rare_option(
    "--fit",
    type=click.Choice(list(PREPROCESSINGS)),
    default="squash",
    help="How images are brought to the size of such a model.",
)
@click.option("--from-logits", is_flag=True, help="The models end in a logit; append the sigmoid.")
@rare_option(
    "--calibration-size",
    type=click.IntRange(min=1),
    help=f"Training images that set the quantized ranges; {DEFAULT_SIZE}, or all there are.",
)
@policy_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@rare_option(
    "--calibration-seed", type=click.IntRange(min=0), default=0, help="Seed of the draw of calibration images."
)
@rare_option("--calibration-check", is_flag=True, help="Quantize from two other draws as well, and compare.")
@rare_option(
    "--io",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    help="Input and output type of a full integer TFLite file.",
)
@rare_option(
    "--full-range", is_flag=True, help="Use all 8 bits of ONNX weights; right everywhere only when opened by oddeven."
)
@rare_option(
    "--familiarity/--no-familiarity",
    default=True,
    help="Whether files tell how familiar an image is; without it they are smaller.",
)
@rare_option("--reduce-range", is_flag=True, help="Deprecated: the default.", expose_value=False)
@rare_option("--mnist", type=PATH, help="The file mnist.npz, where it is neither in ./train/data nor in Keras' cache.")
@rare_option("--author", default="", help="Who made the model, for metadata and model card.")
@rare_option("--license", default="", help="The model's licence, such as apache-2.0.")
@rare_option("--description", default="", help="What the model is for, in a sentence or two.")
@rare_option("--model-version", type=click.IntRange(min=1), default=1, help="The model's version.")
@rare_option(
    "--display-names",
    multiple=True,
    metavar="LOCALE=NAME,NAME",
    help="The labels in another language, such as ko=짝수,홀수; repeatable.",
)
@rare_option("--cost", help="Choose thresholds on validation images by least cost, such as fp=1,fn=5.")
@rare_option("--max-fpr", type=FiniteRange(0, 1), help="Choose thresholds with at most this share of false positives.")
@click.pass_context
def command(
    context: click.Context,
    /,
    models: tuple[Path, ...],
    out: Path,
    formats: tuple[str, ...],
    data: Path | None,
    mnist: Path | None,
    labels: str | None,
    range_name: str | None,
    fit: str,
    as_json: bool,
    policy_file: Path | None,
    io: str,
    cost: str | None,
    max_fpr: float | None,
    author: str,
    license: str,
    description: str,
    model_version: int,
    display_names: tuple[str, ...],
    **options: Any,
) -> None:
    """Export models to OUT/<model>/ in every format, and compare each file with the original on the test images.

    A model of oddeven train says itself what it is. Any other two-class image model (.keras, .h5, the folder of a
    SavedModel, or a float .onnx, which becomes ONNX files only) needs --labels A,B --data FOLDER.

    Writes OUT/parity.json, parity.md and report.html. Without --format it makes all but int16x8, which no TFLite
    engine runs fast. Exit code 1 unless every file passes.
    """
    formats = tuple(dict.fromkeys(choose("format", name, FORMATS) for name in formats or _default_formats(models)))
    limits = {limit.name: options.pop(limit.name) for limit in fields(Policy) if limit.name in options}
    policy, rule = load_policy(policy_file, **limits), threshold_rule(cost, max_fpr)
    about = About(author, license, description, model_version)
    names = dict(map(_locale_names, display_names))
    settings = Settings(formats, policy, rule, float_io=io == "float32", about=about, display_names=names, **options)
    fit_given = context.get_parameter_source("fit") is ParameterSource.COMMANDLINE
    foreign = "--range" if range_name else "--fit" if fit_given else None
    _check_given(models, formats, labels, foreign, data)
    own: dict[Path, OwnModel] = {}
    if labels is not None and data is not None:
        _import_converters()
        for path in models:
            own[path] = describe(path, two_labels(labels), data, range_name, fit, settings.from_logits)
            click.echo(f"{path}: {own[path].finding}", err=True)
    specs = {path: own[path].spec if own else read_keras_spec(path) for path in models}
    first: dict[str, Path] = {}
    for path, spec in specs.items():
        if (other := first.setdefault(spec.name, path)) != path:
            raise UsageError(f"{other} and {path} are both called {spec.name!r}; export each to an --out of its own.")
    datasets = {
        path: own[path].dataset if own else training_dataset(path, spec, data, mnist) for path, spec in specs.items()
    }
    context.with_resource(alone_in(writable_folder(out)))
    if not own:
        _import_converters()
    calibrated = sum(FORMATS[name].calibrated for name in formats) if settings.calibration_check else 0
    start, exported = time.perf_counter(), []
    with progress(len(specs) * (len(formats) + calibrated)) as step:
        for path, spec in specs.items():
            done = export_model(path, datasets[path], settings, out / spec.name, step, _warn, own.get(path))
            exported.append(done)
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
    for stability in report.stability:
        if 1 - stability.differing / stability.count < policy.min_agreement:
            _warn(f"{stability}; raise --calibration-size.")
        else:
            click.echo(f"{stability}.", err=True)
    write(out / "parity.json", to_json(report))
    write(out / "parity.md", to_markdown(report))
    write(out / "report.html", to_html(report, {done.reference.data_sha256: done.reference for done in exported}))
    click.echo(to_json(report) if as_json else _table(report, out), nl=not as_json)
    context.exit(0 if all(file.verdict == PASS for file in report.files) else 1)


def _locale_names(text: str) -> tuple[str, tuple[str, str]]:
    """`ko=짝수,홀수` as the locale and the names of labels 0 and 1.

    Raises:
        UsageError: it is something else.
    """
    locale, _, listed = text.partition("=")
    names = tuple(name.strip() for name in listed.split(","))
    if not LOCALE.fullmatch(locale):
        raise UsageError(f"--display-names {text}: {locale!r} is no BCP 47 tag, such as ko or pt-BR.")
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise UsageError(f"--display-names {text}: expected two different names, for the labels 0 and 1, as ko=A,B.")
    return locale, (names[0], names[1])


def _default_formats(models: tuple[Path, ...]) -> list[str]:
    """All that are made from each of `models`."""
    from_onnx = any(path.suffix == ".onnx" for path in models)
    return [name for name in DEFAULTS if FORMATS[name].suffix == ".onnx" or not from_onnx]


def _check_given(
    models: tuple[Path, ...], formats: tuple[str, ...], labels: str | None, foreign: str | None, data: Path | None
) -> None:
    """Refuse what does not fit together (UsageError); `foreign` is an option given for a model from elsewhere."""
    if labels is not None and data is None:
        raise UsageError("--labels needs images to calibrate and to test with; add --data FOLDER.")
    if foreign and labels is None:
        raise UsageError(f"{foreign} is about a model from elsewhere; add {SAY}.")
    for path in models:
        if labels is None and path.is_dir() and (inside := sorted(path.glob("*.keras"))):
            raise UsageError(f"{path} is a folder; name the model in it, {inside[0]}.")
        if labels is None and path.exists() and (path.is_dir() or path.suffix != ".keras"):
            raise UsageError(f"{path} does not say what its labels are; add {SAY}.")
        if path.suffix == ".onnx" and (others := [name for name in formats if FORMATS[name].suffix != ".onnx"]):
            raise UsageError(f"{path} cannot become {others[0]}; of an .onnx file ONNX formats are made.")


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)


def _table(report: Report, out: Path) -> str:
    """The report as a terminal shows it."""
    rows = [
        (out / file.file, f"{file.size_bytes:,}", shown(file.parity.accuracy, ".4f"),
         shown(file.parity.drop_pp, "+.2f"), f"{file.parity.agreement:.2%}", f"{file.latency_us:.1f}", file.verdict)
        for file in report.files
    ]  # fmt: skip
    remarks = [f"{out / file.file}: {file.verdict}. {file.reason}" for file in report.files if file.verdict != PASS]
    remarks += [f"{out / file.file}: {note}" for file in report.files for note in file.notes]
    return "\n".join([render(HEADER, rows), "", *remarks, *recommend(report.files), f"Report: {out / 'report.html'}"])


def _import_converters() -> None:
    """Import TensorFlow and ONNX without their start-up chatter, or say how to install them."""
    with importing("TensorFlow and ONNX", "Exporting", "export"):
        import huggingface_hub  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tensorflow as tf
        import tf2onnx  # noqa: F401

        tf.config.list_physical_devices()
