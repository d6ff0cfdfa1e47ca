"""`oddeven pipeline`: the other commands, one after the other, as a user would type them."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import click

from oddeven.runtime.errors import DataError, ModelError, UsageError
from oddeven.runtime.files import replacing, writable_folder
from oddeven.runtime.table import render

SAMPLES = 6


@click.command()
@click.option("--recipe", default="fast", show_default=True, help="As in oddeven train.")
@click.option("--pretrained", is_flag=True, help="Start from the Keras models that the repository ships.")
@click.option("--quick", is_flag=True, help="Smoke run, as in oddeven train.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/pipeline"), show_default=True)
@click.pass_context
def command(context: click.Context, recipe: str, pretrained: bool, quick: bool, out: Path) -> None:
    """Train three models, export and verify them, and answer for a few pictures.

    Stopped and started again, it goes on where it was. Exit code 1 unless every exported file passes.
    """
    if pretrained and quick:
        raise UsageError("--quick is about training, and --pretrained does not train; give one of them.")
    runs, artifacts, samples = out / "runs", out / "artifacts", out / "samples"
    writable_folder(out)
    if pretrained:
        models = _shipped()
    else:
        _run("train", "--recipe", recipe, "--out", str(runs), *(["--quick"] if quick else []))
        models = sorted(runs.glob("*/[!.]*.keras"))
    _run("export", *map(str, models), "--out", str(artifacts))
    gate = _run("verify", str(artifacts))
    _draw_samples(artifacts, samples)
    answered = _run("predict", str(samples), "--model", str(_smallest(artifacts)))
    _summarise(artifacts)
    made = {"models": runs, "artifacts": artifacts, "samples": samples}
    for what, folder in made.items():
        if folder.exists():
            click.echo(f"{what.ljust(9)}  {folder}")
    context.exit(gate or answered)


def _run(*arguments: str) -> int:
    """Show a command line and run it in this process; gives its exit code."""
    from oddeven.runtime.cli import cli

    click.secho(f"\n$ oddeven {shlex.join(arguments)}", bold=True, err=True)
    code = cli.main(list(arguments), prog_name="oddeven", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _shipped() -> list[Path]:
    """The Keras models of the checkout this runs from.

    Raises:
        ModelError: this is an installed wheel, which holds none.
    """
    part = importlib.util.find_spec("oddeven.train")
    locations = list(part.submodule_search_locations or []) if part else []
    found = sorted(path for place in locations for path in (Path(place).parents[1] / "models").glob("*.keras"))
    if not found:
        raise ModelError(
            "Pretrained Keras models come with the repository, not with the wheel; leave out --pretrained."
        )
    return found


def _draw_samples(artifacts: Path, folder: Path) -> None:
    """Write the first test pictures as PNG files, named by their true label."""
    from PIL import Image

    from oddeven.runtime import artifact, reference

    first = artifact.find([artifacts])[0]
    labels = artifact.load_manifest(first).spec.labels
    known = reference.load(first / reference.FILE)
    if not len(known.labels):
        raise DataError(f"{first / reference.FILE} holds no pictures.")
    for number, (image, label) in enumerate(zip(known.images[:SAMPLES], known.labels[:SAMPLES], strict=True)):
        with replacing(folder / f"{number}-{labels[label]}.png") as partial:
            Image.fromarray(image.squeeze()).save(partial)


def _smallest(artifacts: Path) -> Path:
    """The file a device would be given first: the smallest one of the most accurate model."""
    from oddeven.runtime import artifact

    folders = artifact.find([artifacts])
    manifests = {folder: artifact.load_manifest(folder) for folder in folders}
    best = max(manifests, key=lambda folder: manifests[folder].files[0].parity.reference.accuracy)
    return best / min(manifests[best].files, key=lambda record: record.size_bytes).file


def _summarise(artifacts: Path) -> None:
    """The table that the whole run ends in."""
    from oddeven.runtime import artifact

    rows = []
    for folder in artifact.find([artifacts]):
        manifest = artifact.load_manifest(folder)
        for record in manifest.files:
            parity = record.parity
            rows.append((
                manifest.spec.name, record.format, f"{record.size_bytes:,}", f"{parity.reference.accuracy:.4f}",
                f"{parity.file.accuracy:.4f}", f"{parity.drop_pp:+.2f}", f"{parity.agreement:.2%}", parity.verdict,
            ))  # fmt: skip
    header = ("model", "format", "bytes", "Keras accuracy", "accuracy", "drop pp", "agreement", "verdict")
    click.echo("\n" + render(header, rows) + "\n")
