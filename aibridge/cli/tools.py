"""`aibridge tools`: which tools a request gets, under which names, and why others are left out."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from aibridge.cli.check import settled
from aibridge.cli.options import ConfigOption, load_config, printable

if TYPE_CHECKING:
    from aibridge.config import Config
    from aibridge.tools import Explanation


def tools(
    config: ConfigOption = None,
    wanted: Annotated[
        str | None,
        typer.Option("--wanted", help="As in the header x-aibridge-tools: servers, tools, patterns."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """List the tools of all MCP servers with the names that models see."""
    settings = load_config(config)
    from aibridge.telemetry import logging

    logging.configure(settings.telemetry.log.model_copy(update={"level": "error"}), settings.secrets())
    found, silent = asyncio.run(_look(settings, wanted))
    if form == "json":
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _print(found)
    for sentence in silent:
        typer.echo(f"aibridge: {sentence}", err=True)
    if silent:
        raise typer.Exit(1)


async def _look(settings: "Config", wanted: str | None) -> "tuple[tuple[Explanation, ...], list[str]]":
    from aibridge.tools import from_config

    toolbox = from_config(settings.mcp_servers, settings.bridge)
    toolbox.start()
    try:
        states = await settled(toolbox)
        silent = [
            f"MCP server '{name}' is not connected: {state['error'] or 'it did not answer in time'}"
            for name, state in states.items()
            if state["state"] != "connected"
        ]
        return toolbox.explain(wanted), silent
    finally:
        await toolbox.aclose()


def _print(found: "tuple[Explanation, ...]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("injected as", "server", "tool", "~tokens", "left out because", box=None)
    for each in found:
        tokens = str(each.tokens)
        table.add_row(
            each.name or "", each.server, printable(each.tool), tokens, printable(each.reason or "")
        )
    Console().print(table)
