"""aibridge with an MCP server in its process: `python -m bench.bridge CONFIG TOOLS`."""

import sys
from pathlib import Path

from aibridge.app import create_app
from aibridge.cli.running import bind, run
from aibridge.config import load
from aibridge.telemetry import logging
from bench.tools import server


def main(config: str, tools: str) -> None:
    """Serve until SIGTERM."""
    settings = load(Path(config))
    logging.configure(settings.telemetry.log, settings.secrets())
    listening = bind(settings.server.host, settings.server.port)
    run(create_app(settings, tools={"bench": server(int(tools))}), listening)


if __name__ == "__main__":
    main(*sys.argv[1:])
