"""`oddeven verify`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from oddeven.runtime.engines import AUTO, ENGINES
from oddeven.runtime.parity import PASS, Parity
from oddeven.runtime.policy import load, policy_options
from oddeven.runtime.table import render

HEADER = ("file", "engine", "bytes", "reference", "accuracy", "drop pp", "interval", "agreement",
          "lost", "won", "verdict")  # fmt: skip


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engine", default=AUTO, show_default=True, help=f"One of {', '.join(ENGINES)}.")
@policy_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@click.pass_context
def command(
    context: click.Context,
    /,
    artifacts: tuple[Path, ...],
    engine: str,
    as_json: bool,
    policy_file: Path | None,
    **settings: float | None,
) -> None:
    """Check that every file in the artifact folders still answers as its Keras model did.

    Needs no TensorFlow. ARTIFACTS are folders made by `oddeven export`, or folders of them. `lost` and `won` count
    the pictures that only the reference, or only the file, gets right. Exit code 1 unless every file passes.
    """
    from oddeven.runtime import artifact

    allowed = load(policy_file, **settings)
    rows: list[tuple[object, ...]] = []
    results: list[tuple[Path, Parity]] = []
    for folder in artifact.find(list(artifacts)):
        for record, engine_name, parity in artifact.verify(folder, allowed, engine):
            path = folder / record.file
            click.echo(f"{path}: {parity.verdict}", err=True)
            results.append((path, parity))
            rows.append((path, engine_name, f"{record.size_bytes:,}", *cells(parity)))
            if as_json:
                line = {"file": str(path), "engine": engine_name, **dataclasses.asdict(parity)}
                click.echo(json.dumps(line))
    if not as_json:
        click.echo(render(HEADER, rows))
    for path, parity in results:
        if parity.verdict != PASS:
            click.echo(f"{path}: {parity.verdict}. {parity.reason}", err=True)
    context.exit(0 if all(parity.verdict == PASS for _, parity in results) else 1)


def cells(parity: Parity) -> tuple[str, ...]:
    """A comparison as the cells of a table row, behind file, engine and size."""
    return (
        f"{parity.reference.accuracy:.4f}",
        f"{parity.file.accuracy:.4f}",
        f"{parity.drop_pp:+.2f}",
        f"{parity.drop_low_pp:+.2f} to {parity.drop_high_pp:+.2f}",
        f"{parity.agreement:.2%}",
        str(parity.right_to_wrong),
        str(parity.wrong_to_right),
        parity.verdict,
    )
