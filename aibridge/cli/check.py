"""`aibridge check`: reads the configuration and reaches everything in it."""

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.cli.options import ConfigOption, load_config, printable

if TYPE_CHECKING:
    from aibridge.config import Config
    from aibridge.nouns import Tool

PATIENCE = 15.0
"""Seconds for an MCP server to connect; `uvx` and `npx` may have to fetch it first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the configuration, and whether it works."""

    kind: str
    name: str
    works: bool
    says: str


def check(
    config: ConfigOption = None,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """Try every upstream and MCP server; status 1 if one does not work."""
    settings = load_config(config)
    from aibridge.telemetry import logging

    logging.configure(settings.telemetry.log.model_copy(update={"level": "error"}), settings.secrets())
    findings, offered = asyncio.run(_look(settings))
    if form == "json":
        told = {"checks": [asdict(each) for each in findings], "tools": [tool.name for tool in offered]}
        typer.echo(json.dumps(told, indent=2))
    else:
        _print(findings, offered)
    if not all(finding.works for finding in findings):
        raise typer.Exit(1)


async def _look(settings: "Config") -> tuple[list[Finding], "tuple[Tool, ...]"]:
    from aibridge import tools, upstreams

    router = upstreams.from_config(settings.upstreams)
    toolbox = tools.from_config(settings.mcp_servers, settings.bridge)
    toolbox.start()
    try:
        probes = await asyncio.gather(*(upstream.probe() for upstream in router.upstreams))
        states = await settled(toolbox)
        offered = (await toolbox.offer(None)).tools
    finally:
        await toolbox.aclose()
        await router.aclose()
    names = [upstream.name for upstream in router.upstreams]
    findings = [Finding("upstream", name, *probe) for name, probe in zip(names, probes, strict=True)]
    for name, state in states.items():
        works = state["state"] == "connected"
        says = f"connected, {state['tools']} tools" if works else state["error"] or "did not connect in time"
        findings.append(Finding("mcp server", name, works, says))
    return findings, offered


async def settled(toolbox: Any) -> dict[str, dict[str, Any]]:
    """The servers' states once each is connected or failed, or patience ends."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        states: dict[str, dict[str, Any]] = toolbox.states()
        open_ = [each for each in states.values() if each["state"] == "connecting"]
        if not open_ or asyncio.get_running_loop().time() > end:
            return states
        await asyncio.sleep(0.05)


def _print(findings: list[Finding], offered: "tuple[Tool, ...]") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("", "part", "name", "state", box=None)
    for each in findings:
        mark = "[green]ok[/]" if each.works else "[red]fails[/]"
        table.add_row(mark, each.kind, each.name, printable(each.says))
    console.print(table)
    if offered:
        console.print("\ntools, as models see them:")
        for tool in offered:
            console.print(f"  {tool.name}", style="cyan", highlight=False)
