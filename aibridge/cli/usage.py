"""`aibridge usage`: totals of the records, lists, one exchange told as a story, a live view, exports.

Folds first what ended processes left behind, so that it tells the truth also when no server runs.
The figures come from `aibridge.records.questions`, as those of `/api` do; how they look is in `stories` and
`figures`.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from aibridge.cli.filters import narrowed
from aibridge.cli.options import ConfigOption, actor, fail, load_config, printable, warn
from aibridge.cli.stores import opened_store
from aibridge.nouns import By, Filter, Total

if TYPE_CHECKING:
    from aibridge.records.questions import Questions

app = typer.Typer(help="The records: what was used, by whom, for how much.", no_args_is_help=False)
BY: tuple[str, ...] = get_args(By)
WEEK = "7d"
MOST_GROUPS = 500
"""Rows of a table: more are for programs."""
LinesOption = Annotated[int, typer.Option("--lines", "-n", min=0, max=10_000, help="How many at most.")]


@app.callback(invoke_without_command=True)
@narrowed(since=WEEK)
def usage(
    context: typer.Context,
    wanted: Filter,
    by: Annotated[str, typer.Option("--by", help=f"Group by {', '.join(BY)}.")] = "model",
    form: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Totals of exchanges, tokens, cost and calls."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    one_of("--by", by, BY)
    one_of("--format", form, ("table", "json", "csv"))
    with asking(config) as questions:
        found = questions.totals(by, wanted, MOST_GROUPS + 1 if form == "table" else None)
        match form:
            case "json":
                tell_json([asdict(total) for total in found])
            case "csv":
                from aibridge.records.exporting import csv_of

                rows = (asdict(total).values() for total in found)
                typer.echo(csv_of([[each.name for each in fields(Total)], *rows]), nl=False)
            case _:
                from aibridge.cli.figures import print_totals

                print_totals(found[:MOST_GROUPS], by, wanted)
                if len(found) > MOST_GROUPS:
                    warn(f"only the first {MOST_GROUPS} are shown; --format csv or json has all")


@app.command()
def show(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", help="Its id, how that begins, or last.")],
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    config: ConfigOption = None,
) -> None:
    """Tell one exchange as a story: who asked what, each round, each call, how it ended."""
    one_of("--format", form, ("text", "json"))
    with asking(config or context.obj) as questions:
        story = questions.story(exchange)
        if form == "json":
            tell_json(story.plain())
            return
        from aibridge.cli.stories import story_lines

        typer.echo("\n".join(printable(line) for line in story_lines(story)))


@app.command(name="list")
@narrowed(since=WEEK)
def list_exchanges(
    context: typer.Context,
    wanted: Filter,
    lines: LinesOption = 20,
    form: Annotated[str, typer.Option("--format", help="table, or json (lines).")] = "table",
    config: ConfigOption = None,
) -> None:
    """List exchanges, newest first; --status error lists what failed."""
    one_of("--format", form, ("table", "json"))
    with asking(config or context.obj) as questions:
        from aibridge.cli.figures import heading, line_of

        if form == "table" and lines:
            typer.echo(heading())
        for row in _newest(questions, wanted, lines):
            typer.echo(line_of(row, form))


def _newest(questions: "Questions", wanted: Filter, most: int) -> Iterator[Any]:
    cursor = None
    while most > 0:
        page = questions.page(wanted, cursor, min(most, 500))
        yield from page.exchanges
        most, cursor = most - len(page.exchanges), page.next
        if cursor is None:
            return


@app.command()
@narrowed(since="all")
def tail(
    context: typer.Context,
    wanted: Filter,
    lines: LinesOption = 10,
    form: Annotated[str, typer.Option("--format", help="table, or json (lines).")] = "table",
    config: ConfigOption = None,
) -> None:
    """Follow exchanges as they end, until Ctrl-C; the last ones first."""
    one_of("--format", form, ("table", "json"))
    from aibridge.cli.following import follow

    with asking(config or context.obj) as questions:
        try:
            follow(questions, wanted, lines, form)
        except KeyboardInterrupt:
            return


@app.command()
@narrowed(since="all")
def export(
    context: typer.Context,
    wanted: Filter,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    config: ConfigOption = None,
) -> None:
    """Write all columns of all exchanges to stdout, oldest first."""
    one_of("--format", form, ("jsonl", "csv"))
    with asking(config or context.obj) as questions:
        for piece in questions.written(wanted, form):
            sys.stdout.write(piece)


@app.command()
@narrowed(since="all")
def reprice(context: typer.Context, wanted: Filter, config: ConfigOption = None) -> None:
    """Price rounds whose price was unknown, with the prices of now."""
    with asking(config or context.obj) as questions:
        priced, unknown = questions.reprice(wanted, actor())
    typer.echo(f"{priced:,} rounds have a price now, {unknown:,} still have none")


@contextmanager
def asking(path: Path | None) -> Iterator["Questions"]:
    """The records, with what ended processes left; errors end the command."""
    from aibridge.records.pricing import prices_of
    from aibridge.records.questions import Questions

    settings = load_config(path)
    prices = prices_of(settings)
    with opened_store(settings.records, prices) as store:
        yield Questions(store, prices)


def one_of(option: str, value: str, known: Sequence[str]) -> None:
    """End the command in a sentence where `value` is not one of `known`."""
    if value not in known:
        fail(f"{option} cannot be {value!r}; write one of {', '.join(known)}")


def tell_json(value: Any) -> None:
    """Write `value` for programs."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
