"""`aibridge serve`: the bridge, from a file or from a few options."""

from typing import Annotated

import typer

from aibridge.cli.descriptors import raise_limit
from aibridge.cli.options import ConfigOption, fail
from aibridge.cli.wanted import Options
from aibridge.config import Config, Source
from aibridge.errors import ConfigError


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that serve this port.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead of a file: the upstream.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable with the upstream's key.")
    ] = None,
    mcp: Annotated[
        list[str] | None, typer.Option(metavar="COMMAND|URL", help="An MCP server; may be repeated.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although nobody needs a key.")
    ] = False,
) -> None:
    """Run the bridge."""
    options = Options(config, host, port, workers, upstream, api_key_env, tuple(mcp or ()), insecure)
    try:
        settings = options.read()
    except ConfigError as error:
        fail(str(error))
    raise_limit()
    if settings.server.workers > 1:
        from aibridge.cli.supervising import supervise

        supervise(settings, options.read)
    else:
        _serve_alone(settings, options)


def _serve_alone(settings: Config, options: Options) -> None:
    """One process; the port first, so that a taken one is said before anything is loaded."""
    from aibridge.cli.running import bind, hold_stops, run, url_of

    listening = bind(settings.server.host, settings.server.port)

    from aibridge.app import create_app
    from aibridge.telemetry import logging

    logging.configure(settings.telemetry.log, settings.secrets())
    hold_stops()  # who reads the next line may send one
    typer.echo(f"aibridge listens on {url_of(listening)}; point clients at {url_of(listening)}/v1", err=True)
    run(create_app(settings, source=Source(options.read, logging.configure)), listening)
