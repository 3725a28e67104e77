"""`aibridge tools`: which tools a request gets, under which names, and why others are left out.

`aibridge tools accept` takes definitions that changed since they were first seen.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.cli.options import ConfigOption, actor, fail, load_config, printable, warn
from aibridge.cli.toolboxes import opened_box, settled, silent
from aibridge.errors import BridgeError

if TYPE_CHECKING:
    from aibridge.config import Config
    from aibridge.nouns import Explanation

Headers = list[tuple[bytes, bytes]]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def tools(
    context: typer.Context,
    config: ConfigOption = None,
    wanted: Annotated[
        str | None,
        typer.Option("--wanted", help="As in the header x-aibridge-tools: servers, tools, patterns."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="'NAME: VALUE'", help="A client's header, for `forward_headers`."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain/--injected", help="Also what is left out and why, or only what is injected."),
    ] = True,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """List the tools of all MCP servers with the names that models see."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    settings = _prepared(config)
    found, unheard = asyncio.run(_look(settings, wanted, _headers(header or [])))
    shown = [each for each in found if explain or each.name]
    if form == "json":
        typer.echo(json.dumps([asdict(each) for each in shown], indent=2))
    else:
        _print(shown)
    for sentence in unheard:
        warn(sentence)
    if unheard:
        raise typer.Exit(1)


@app.command()
def accept(
    context: typer.Context,
    which: Annotated[
        str | None, typer.Argument(metavar="[SERVER[__TOOL]]", help="A server, or one of its tools.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Take tools that changed since they were first seen (`pin`) as they are now."""
    settings = _prepared(config or context.obj)
    server, _, tool = (which or "").partition("__")
    names = [name for name in settings.mcp_servers if server in ("", name)]
    if not names:
        fail(f"there is no MCP server named '{server}' in the configuration")
    accepted, unheard = asyncio.run(_accept(settings, names, tool or None))
    for line in accepted:
        typer.echo(printable(line))
    if accepted:
        _note(settings, accepted)
    if not accepted and not unheard:
        typer.echo("nothing has changed")
    for sentence in unheard:
        warn(sentence)
    if unheard:
        raise typer.Exit(1)


def _note(settings: "Config", accepted: list[str]) -> None:
    """Leave a row in the audit, where there are records."""
    from aibridge.records import DatabaseFailing, RecordsError
    from aibridge.records.auditing import note
    from aibridge.records.opening import is_anything, open_store

    if not (settings.records.enabled and is_anything(settings.records)):
        return
    try:
        store, _ = open_store(settings.records)
        try:
            note(store, actor(), "tools.accept", "tools", {"accepted": accepted})
        finally:
            store.close()
    except (RecordsError, DatabaseFailing) as error:
        fail(f"the tools are accepted, but the audit cannot be written: {error}")


def _prepared(config: Any) -> "Config":
    settings = load_config(config)
    from aibridge.telemetry import logging

    logging.configure(settings.telemetry.log.model_copy(update={"level": "error"}), settings.secrets())
    return settings


def _headers(given: list[str]) -> Headers:
    pairs = [text.partition(":") for text in given]
    return [(name.strip().encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs]


async def _look(
    settings: "Config", wanted: str | None, headers: Headers
) -> "tuple[tuple[Explanation, ...], list[str]]":
    async with opened_box(settings) as box:
        with suppress(BridgeError):  # which servers are away is told below
            await box.offer(wanted, headers)
        states = await settled(box)
        return box.explain(wanted, headers), silent(states)


async def _accept(settings: "Config", names: list[str], tool: str | None) -> tuple[list[str], list[str]]:
    """What was accepted, a line each, and what could not be looked at."""
    only = {name: settings.mcp_servers[name] for name in names}
    lines: list[str] = []
    async with opened_box(settings.model_copy(update={"mcp_servers": only})) as box:
        states = await settled(box)
        for name, state in states.items():
            changed = state["changed_tools"]
            accepted = await box.accept(name, tool) if state["state"] == "connected" else []
            lines += [f"accepted {name}__{each}: {changed[each]}" for each in accepted]
    return lines, silent(states)


def _print(found: "Sequence[Explanation]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("injected as", "server", "tool", "~tokens", "says of itself", "note", box=None)
    for each in found:
        hint = "read-only" if each.read_only else "destructive" if each.destructive else ""
        note = f"left out: {each.reason}" if each.reason else each.changed or ""
        table.add_row(
            each.name or "", each.server, printable(each.tool), str(each.tokens), hint, printable(note)
        )
    Console().print(table)
    total = sum(each.tokens for each in found if each.name)
    Console().print(f"\n{sum(1 for each in found if each.name)} tools, about {total} tokens a request")
