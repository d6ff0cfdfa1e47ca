"""`oddeven serve`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from oddeven.runtime.cli.finite_range import FiniteRange
from oddeven.runtime.cli.options import ENVIRONMENT, FOLDER, exit_on_signal, tell_of_path
from oddeven.runtime.engines.registry import AUTO, ENGINES
from oddeven.runtime.errors import extra, needing
from oddeven.runtime.serve.served_model import open_models


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for a free one.")
@click.option(
    "--token", envvar="ODDEVEN_TOKEN", help="What clients must give.  [default: none on localhost, else a new one]"
)
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="Another name of this machine; repeatable.")
@click.option("--camera", "source", metavar="picamera2|0|DEVICE|FILE", help="Show this machine's camera on the page.")
@click.option("--keep", "folder", type=FOLDER, help="Keep labelled images there.")
@click.option("--engine", default=AUTO, show_default=True, help=f"One of {', '.join(ENGINES)}.")
@click.option("--batch-wait", type=FiniteRange(0, 1000), default=0.0, help="Milliseconds to wait for a batch.")
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    token: str | None,
    names: tuple[str, ...],
    source: str | None,
    folder: Path | None,
    engine: str,
    batch_wait: float,
) -> None:
    """Serve models: a page to draw on, to drop images on and to watch a camera, and an API.

    The API is POST /predict with an image file, the Open Inference Protocol under /v2, and /metrics for Prometheus.
    """
    with needing("Serving", extra("serve")):
        from oddeven.runtime.serve.app import create_app
        from oddeven.runtime.serve.camera import SharedCamera
        from oddeven.runtime.serve.collection import open_collection
        from oddeven.runtime.serve.guard import checked_token, own_names
        from oddeven.runtime.serve.server import listen, run, url
        from oddeven.runtime.serve.service import Service

    exit_on_signal(signal.SIGTERM)
    if not models and (one := os.environ.get(ENVIRONMENT)):  # whole: as an argument's envvar, click would split it
        models = (one,)
    for model in models:
        tell_of_path(model)
    served = open_models(models or (None,), engine)
    collection = open_collection(folder, [model.classifier.spec.labels for model in served.values()])
    camera = SharedCamera(source) if source else None
    asked = checked_token(token, host)
    service = Service(served, batch_wait / 1e3)
    app = create_app(service, own_names(host, names), asked, collection, camera)
    with listen(host, port) as listening:
        address = url(host, listening)
        if asked and token is None:
            click.echo("oddeven: others can reach this address, so it has a token; --token sets one.", err=True)
        click.echo(f"{address}?token={asked}" if asked else address)
        try:
            run(app, listening)
        finally:
            click.echo(f"oddeven: answered {service.metrics.responses} requests.", err=True)
