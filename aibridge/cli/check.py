"""`aibridge check`: reads the configuration and reaches everything in it."""

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.cli.options import ConfigOption, load_config, printable
from aibridge.cli.toolboxes import WELL, opened_box, settled

if TYPE_CHECKING:
    from aibridge.config import Config


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
        told = {"checks": [asdict(each) for each in findings], "tools": offered}
        typer.echo(json.dumps(told, indent=2))
    else:
        _print(findings, offered)
    if not all(finding.works for finding in findings):
        raise typer.Exit(1)


async def _look(settings: "Config") -> tuple[list[Finding], list[str]]:
    from aibridge import upstreams

    router = upstreams.from_config(settings.upstreams)
    try:
        async with opened_box(settings) as box:
            probes = await asyncio.gather(*(upstream.probe() for upstream in router.upstreams))
            states = await settled(box)
            offered = sorted(each.name for each in box.explain() if each.name)
    finally:
        await router.aclose()
    names = [upstream.name for upstream in router.upstreams]
    findings = [Finding("upstream", name, *probe) for name, probe in zip(names, probes, strict=True)]
    findings += [
        Finding("mcp server", name, state["state"] in WELL, _says(state)) for name, state in states.items()
    ]
    return findings, offered


def _says(state: dict[str, Any]) -> str:
    if state["state"] == "idle":
        return "connected when a caller brings its headers"
    if state["state"] != "connected":
        return state["error"] or "did not connect in time"
    changed = len(state["changed_tools"])
    told = f", {changed} changed since first seen: see `aibridge tools`" if changed else ""
    return f"connected, {state['tools']} tools{told}"


def _print(findings: list[Finding], offered: list[str]) -> None:
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
            console.print(f"  {tool}", style="cyan", highlight=False)
