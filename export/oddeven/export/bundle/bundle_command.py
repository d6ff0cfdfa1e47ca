"""`oddeven bundle`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("model", metavar="MODEL|FOLDER")
@click.option("--precision", default="int8", show_default=True, help="Which files of the model.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("oddeven-pi.zip"), show_default=True
)
@click.option(
    "--offline", metavar="SYSTEM", help="Put its wheels inside: bookworm-arm64, trixie-arm64, bookworm-armhf."
)
@click.option("--serve", is_flag=True, help="Let the installer set up oddeven serve, with a systemd unit.")
@click.option(
    "--sign",
    "key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY",
    help="Sign with this Ed25519 key of OpenSSH.",
)
@click.option(
    "--release",
    type=click.IntRange(0, 10**17),
    help="A device refuses a lower one than it has.  [default: 0, or the time of signing as YYYYMMDDhhmmss]",
)
@click.option("--delta", is_flag=True, help="Leave out the wheels, for devices that have the same ones installed.")
def command(
    model: str, precision: str, out: Path, offline: str | None, serve: bool, key: Path | None, release: int | None,
    delta: bool,
) -> None:  # fmt: skip
    """Pack a bundled model, a file or an artifact folder for a Raspberry Pi, with what installs and tests it there.

    On the Pi: python3 -m zipfile -e oddeven-pi.zip . && sh oddeven-pi/install.sh
    """
    import shlex
    from datetime import datetime, timezone

    from oddeven.export.bundle.archive import PI_SYSTEMS, build_bundle, bundle_models
    from oddeven.runtime.artifacts.manifest import parity_of
    from oddeven.runtime.cli.options import tell_of_path
    from oddeven.runtime.errors import choose
    from oddeven.runtime.parity.check import PASS
    from oddeven.runtime.update.bundle import TOP

    target = PI_SYSTEMS[choose("system", offline, PI_SYSTEMS)] if offline else None
    tell_of_path(model)
    found = bundle_models(model, precision)
    for path in found:
        if (parity := parity_of(path)) and parity.verdict != PASS:
            click.echo(f"oddeven: {path} did not pass the gate when it was exported.", err=True)
    if release is None:
        release = int(datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S")) if key else 0
    build_bundle(found, out, target, serve, release, key, delta)
    click.echo(f"{out}  {out.stat().st_size:,} bytes: {', '.join(path.name for path in found)}; release {release}")
    name = shlex.quote(f"./{out.name}" if out.name.startswith("-") else out.name)
    by_hand = f"python3 -m zipfile -e {name} . && sh {TOP}install.sh"
    click.echo(f"On the Pi: {f'oddeven update {name}' if delta else by_hand}", err=True)
