"""`oddeven pipeline`: the other commands, one after the other, as a user would type them."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from oddeven.runtime.artifacts.manifest import Manifest, load_manifest
from oddeven.runtime.artifacts.reference import REFERENCE, load_reference
from oddeven.runtime.cli.options import PATH
from oddeven.runtime.engines.registry import holds_code
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.files import writable_folder, write
from oddeven.runtime.images.encode import to_png
from oddeven.runtime.table import render, shown

SAMPLES = 6
NOT_OF_A_NAME = re.compile(r"[^\w .-]")  # a label may be any text


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("training", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF oddeven train]...")
@click.option("--pretrained", is_flag=True, help="Start from the Keras models that the repository ships.")
@click.option("--out", type=PATH, default=Path("build/pipeline"), show_default=True)
@click.option("--mnist", type=PATH, help="The file mnist.npz, where it is neither in ./train/data nor in Keras' cache.")
@click.option("--policy", help="TOML file with the parity policy, as in oddeven verify.")
@click.pass_context
def command(
    context: click.Context,
    training: tuple[str, ...],
    pretrained: bool,
    out: Path,
    mnist: Path | None,
    policy: str | None,
) -> None:
    """Train models, export and verify them, and classify a few images.

    All other options go to oddeven train: `--data PATH` for your own images, `--recipe NAME`, `--quick`. Stopped and
    started again, it goes on where it was. The exit code is that of `oddeven verify`.
    """
    if pretrained and training:
        raise UsageError(f"--pretrained does not train, but {training[0]} is about training; give one of them.")
    out = out.absolute() if str(out).startswith("-") else out  # lest a path in it be taken for an option
    limits = ["--policy", policy] if policy else []
    dataset = ["--mnist", str(mnist)] if mnist else []
    runs, artifacts, samples = out / "runs", out / "artifacts", out / "samples"
    writable_folder(out)
    if pretrained:
        models = _shipped()
    else:
        models = _run("train", *training, *dataset, "--out", str(runs))
        if not models:  # a dry run
            return
    folders = [artifacts / model.stem for model in models]  # others are of an earlier run, perhaps on other images
    _run("export", *map(str, models), "--out", str(artifacts), *dataset, *limits)
    gate = _run("verify", *map(str, folders), *limits)
    manifests = {folder: load_manifest(folder) for folder in folders}
    _draw_samples(manifests, samples)
    predicted = _run("predict", str(samples), "--model", str(_smallest(manifests)))
    _summarise(manifests.values())
    made = {"models": runs, "artifacts": artifacts, "samples": samples}
    for what, folder in made.items():
        if folder.exists():
            click.echo(f"{what.ljust(9)}  {folder}")
    context.exit(gate or predicted)


def _run(*arguments: str) -> Any:
    """Show a command line and run it in this process; gives its exit code, or what it made."""
    click.secho(f"\n$ oddeven {shlex.join(arguments)}", bold=True, err=True)
    root = click.get_current_context().find_root().command
    return root.main(list(arguments), prog_name="oddeven", standalone_mode=False)


def _shipped() -> list[Path]:
    """The Keras models of the checkout that this runs in or from.

    Raises:
        ModelError: it does not run in one, and is an installed wheel, which holds none.
    """
    part = importlib.util.find_spec("oddeven.train")
    locations = list(part.submodule_search_locations or []) if part else []
    for folder in (Path("train/models"), *(Path(place).parents[1] / "models" for place in locations)):
        if found := sorted(folder.glob("*.keras")):
            return found
    raise ModelError(
        "Pretrained Keras models come with the repository, not with the wheel: run this in a checkout, or leave out "
        "--pretrained."
    )


def _draw_samples(manifests: Mapping[Path, Manifest], samples: Path) -> None:
    """Write the first test images of the first model as PNG files, named by their true label."""
    folder, manifest = next(iter(manifests.items()))
    known = load_reference(folder / REFERENCE)
    for number, (image, label) in enumerate(zip(known.images[:SAMPLES], known.truth[:SAMPLES], strict=True)):
        name = NOT_OF_A_NAME.sub("_", manifest.spec.labels[label])
        write(samples / f"{number}-{name}.png", to_png(image))


def _smallest(manifests: Mapping[Path, Manifest]) -> Path:
    """The file a device would be given first: the smallest one of the most accurate model, which no C library is."""
    best = max(manifests, key=lambda folder: manifests[folder].files[0].parity.reference_accuracy or 0.0)
    return best / min(manifests[best].files, key=lambda record: (holds_code(Path(record.file)), record.size_bytes)).file


def _summarise(manifests: Iterable[Manifest]) -> None:
    """The table that the whole run ends in."""
    rows = []
    for manifest in manifests:
        for record in manifest.files:
            parity = record.parity
            rows.append((
                manifest.spec.name, record.format, f"{record.size_bytes:,}", shown(parity.reference_accuracy, ".4f"),
                shown(parity.accuracy, ".4f"), shown(parity.drop_pp, "+.2f"), f"{parity.agreement:.2%}", parity.verdict,
            ))  # fmt: skip
    header = ("model", "format", "bytes", "Keras accuracy", "accuracy", "drop pp", "agreement", "verdict")
    click.echo("\n" + render(header, rows) + "\n")
