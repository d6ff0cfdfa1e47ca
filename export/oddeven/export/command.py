"""`oddeven export`."""

from __future__ import annotations

from pathlib import Path

import click

from oddeven.export.calibration import DEFAULT_SIZE
from oddeven.export.formats import FORMATS
from oddeven.runtime.artifact import Manifest
from oddeven.runtime.attachment import read_spec
from oddeven.runtime.errors import ModelError, choose, missing_package
from oddeven.runtime.files import writable_folder
from oddeven.runtime.parity import PASS, Policy
from oddeven.runtime.quiet import quiet
from oddeven.runtime.schema import to_json
from oddeven.runtime.table import render
from oddeven.train import dataset as datasets


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.keras...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True)
@click.option(
    "--format", "formats", multiple=True, help=f"Any of {', '.join(FORMATS)}; may be repeated. [default: all]"
)
@click.option("--calibration-size", type=click.IntRange(min=1), default=DEFAULT_SIZE, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the manifests as JSON, one a line.")
@click.pass_context
def command(
    context: click.Context,
    models: tuple[Path, ...],
    out: Path,
    formats: tuple[str, ...],
    calibration_size: int,
    as_json: bool,
) -> None:
    """Export Keras models to OUT/<model>/ in every format, and prove each file on the test pictures.

    Exit code 1 where a file did not pass.
    """
    chosen = tuple(dict.fromkeys(choose("format", name, FORMATS) for name in formats or FORMATS))
    for path in models:
        if not path.is_file():
            raise ModelError(f"There is no file {path}.")
    writable_folder(out)
    _import_converters()
    from oddeven.export.export import export

    manifests = []
    for path in models:
        spec = read_spec(path)
        data = datasets.load(spec.provenance.dataset if spec else "mnist")
        name = spec.name if spec else path.stem
        note = lambda step, name=name: click.echo(f"{name}: {step}", err=True)  # noqa: E731
        manifests.append(export(path, data, chosen, out / name, Policy(), calibration_size, note))
    _show(manifests, out, as_json)
    passed = all(record.parity.verdict == PASS for manifest in manifests for record in manifest.files)
    context.exit(0 if passed else 1)


def _show(manifests: list[Manifest], out: Path, as_json: bool) -> None:
    if as_json:
        for manifest in manifests:
            click.echo(" ".join(to_json(manifest).split("\n")))
        return
    rows = [
        (str(out / manifest.spec.name / record.file), f"{record.size_bytes:,}", f"{record.parity.file.accuracy:.4f}",
         f"{record.parity.drop_pp:+.2f}", record.parity.verdict)
        for manifest in manifests
        for record in manifest.files
    ]  # fmt: skip
    click.echo(render(("file", "bytes", "accuracy", "drop pp", "verdict"), rows))


def _import_converters() -> None:
    """Import TensorFlow and ONNX without their start-up chatter, or say how to install them."""
    click.echo("importing TensorFlow and ONNX ...", err=True)
    try:
        with quiet():
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import tensorflow as tf
            import tf2onnx  # noqa: F401

            tf.config.list_physical_devices()
    except ImportError as error:
        raise missing_package("Exporting", "export") from error
