"""`oddeven web`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1, required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("page"), show_default=True)
@click.option(
    "--node-modules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder in which npm has installed @litertjs/core.  [default: npm fetches it]",
)
def command(models: tuple[str, ...], out: Path, node_modules: Path | None) -> None:
    """Write a folder that runs models in the visitor's browser, from any static host.

    To try it: python3 -m http.server --directory page
    """
    from oddeven.export.web.site import build_site
    from oddeven.runtime.cli.options import tell_of_path
    from oddeven.runtime.files import writable_folder

    for model in models:
        tell_of_path(model)
    build_site(models, writable_folder(out), node_modules)
    click.echo(f"{out}: index.html with {', '.join(models)}")
    click.echo(f"To try it: python3 -m http.server --directory {out}", err=True)
