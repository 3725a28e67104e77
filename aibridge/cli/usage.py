"""`aibridge usage`: totals of the records, and one exchange told as a story.

Folds first what ended processes left behind, so that it tells the truth also when no server runs.
Figures come from `aibridge.records.queries`, the story's words are in `stories`.
"""

import csv
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.cli.options import ConfigOption, fail, load_config, printable, warn

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aibridge.nouns import Total

app = typer.Typer(help="The records: what was used, by whom, for how much.", no_args_is_help=False)
BY = ("model", "user", "key", "client", "tool", "server", "day", "upstream", "session", "caller")


@app.callback(invoke_without_command=True)
def usage(
    context: typer.Context,
    by: Annotated[str, typer.Option("--by", help=f"Group by {', '.join(BY)}.")] = "model",
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d, or all.")] = "7d",
    form: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Totals of exchanges, tokens, cost and calls."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    _one_of("--by", by, BY)
    _one_of("--format", form, ("table", "json", "csv"))
    start = _start(since)
    with _records(config) as connection:
        from aibridge.nouns import Filter
        from aibridge.records.totals import totals

        found = totals(connection, by, Filter(since=start))
    match form:
        case "json":
            _tell_json([asdict(total) for total in found])
        case "csv":
            typer.echo(_csv(found), nl=False)
        case _:
            _print_table(found, by, since)


@app.command()
def show(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", help="Its id, how that begins, or last.")],
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    config: ConfigOption = None,
) -> None:
    """Tell one exchange as a story: who asked what, each round, each call, how it ended."""
    _one_of("--format", form, ("text", "json"))
    with _records(config or context.obj) as connection:
        from aibridge.records import queries

        story = queries.exchange(connection, exchange)
    if form == "json":
        _tell_json(story.plain())
        return
    from aibridge.cli.stories import story_lines

    typer.echo("\n".join(printable(line) for line in story_lines(story)))


@contextmanager
def _records(path: Path | None) -> Iterator["Connection"]:
    """The records, with what ended processes left; errors end the command."""
    import structlog

    from aibridge.records.failures import DatabaseFailing, RecordsError
    from aibridge.records.opening import open_store
    from aibridge.records.pricing import prices_of

    settings = load_config(path)
    quiet = structlog.make_filtering_bound_logger("error")  # stdout is for figures alone
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        store, problem = open_store(settings.records, prices_of(settings))
        if problem:
            warn(problem)
        try:
            with store.reading() as connection:
                yield connection
        finally:
            store.close()
    except RecordsError as error:
        fail(str(error))
    except DatabaseFailing as error:
        fail(f"the records' database cannot be read: {error}")


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        fail(f"{option} cannot be {value!r}; write one of {', '.join(known)}")


def _start(since: str) -> datetime | None:
    """The time that `since` names; None for `all`."""
    from pydantic import TypeAdapter, ValidationError

    from aibridge.config.units import Duration

    if since == "all":
        return None
    try:
        seconds: float = TypeAdapter(Duration).validate_python(since)
    except ValidationError:
        fail(f"--since cannot be {since!r}; write a number with ms, s, m, h or d, for example 7d, or all")
    return datetime.fromtimestamp(max(0.0, time.time() - seconds), UTC)


def _tell_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: datetime) -> str:
    return value.isoformat()


def _csv(found: Sequence["Total"]) -> str:
    from aibridge.nouns import Total

    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Total)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(total) for total in found)
    return text.getvalue()


def _print_table(found: Sequence["Total"], by: str, since: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        typer.echo("no exchanges are recorded" + ("" if since == "all" else f" in the last {since}"))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column(by, overflow="fold")
    for name in ("exchanges", "errors", "in", "cache", "out", "reasoning", "cost", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    for total in found:
        table.add_row(Text(printable(total.group or "–")), *_figures(total))
    Console(file=sys.stdout).print(table)


def _figures(total: "Total") -> Iterator[str]:
    from aibridge.cli.stories import dollars

    cached = None if total.cache_read is None else total.cache_read + (total.cache_write or 0)
    yield f"{total.exchanges:,}"
    yield f"{total.errors:,}"
    for tokens in (total.input, cached, total.output, total.reasoning):
        yield "–" if tokens is None else f"{tokens:,}"
    yield dollars(total.cost_micros)
    yield f"{total.calls:,}"
