"""The options that narrow a question to the records, the same for every command that asks one."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from aibridge.cli.options import fail
from aibridge.config.units import moment
from aibridge.nouns import Filter

STATUSES = ("running", "completed", "failed", "cancelled", "interrupted", "error")
HELP = {
    "model": "Only this model, as it was asked for.",
    "user": "Only this user.",
    "key": "Only this key's id.",
    "client": "Only this program.",
    "upstream": "Only this upstream.",
    "caller": "Only this caller.",
    "session": "Only this session.",
    "tool": "Only exchanges that called it: server/tool, or a client's tool.",
    "server": "Only exchanges that called this MCP server.",
    "status": f"Only these: {', '.join(STATUSES)} (failed or interrupted).",
}


def narrowed(since: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options, and it a Filter as `wanted`; `since` is the default of `--since`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*arguments: Any, **given: Any) -> None:
            values = {each.name: given.pop(each.name) for each in fields(Filter)}
            command(*arguments, wanted=_filter(values), **given)

        options = _options(since)
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.name != "wanted"]
        run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # Typer's
        run.__annotations__ = {each.name: each.annotation for each in (*own, *options)}
        return run

    return decorate


def _filter(values: dict[str, Any]) -> Filter:
    status = values["status"]
    if status is not None and status not in STATUSES:
        fail(f"--status cannot be {status!r}; write one of {', '.join(STATUSES)}")
    times = {name: _moment(name, values[name] or "all") for name in ("since", "until")}
    return Filter(**{**values, **times})


def _moment(name: str, text: str) -> datetime | None:
    try:
        return moment(text, datetime.now(UTC))
    except ValueError as error:
        fail(f"--{name} cannot be {text!r}; {error}")


def _options(since: str) -> list[inspect.Parameter]:
    back = typer.Option("--since", help="Started then or later: 12h, 7d (ago), 2026-01-31, all.")
    until = typer.Option("--until", help="Started before: 1d (ago), a date or time.", show_default=False)
    narrowing = [
        (name, typer.Option(f"--{name}", help=text, show_default=False)) for name, text in HELP.items()
    ]
    return [
        _parameter("since", Annotated[str, back], since),
        _parameter("until", Annotated[str | None, until], None),
        *(_parameter(name, Annotated[str | None, option], None) for name, option in narrowing),
    ]


def _parameter(name: str, annotation: Any, default: str | None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
