"""`aibridge records`: what is pending and how large all is, old rows deleted now, one user forgotten."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from aibridge.cli.options import ConfigOption, actor, fail, load_config, printable
from aibridge.cli.stores import failures_told, opened_store

if TYPE_CHECKING:
    from aibridge.config import Records
    from aibridge.records.store import Store

app = typer.Typer(
    help="The records themselves: their state, retention, and forgetting.", no_args_is_help=True
)


@app.command()
def status(
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    config: ConfigOption = None,
) -> None:
    """Tell where the records are, how large, and what is not folded into the database yet."""
    from aibridge.records.status import status_of

    if form not in ("text", "json"):
        fail(f"--format cannot be {form!r}; write one of text, json")
    told = status_of(load_config(config).records)
    if form == "json":
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(f"database   {told['database']}  {_size(told['database_bytes'])}")
    if told["error"]:
        typer.echo(f"           {printable(told['error'])}")
    for name, rows in told["rows"].items():
        typer.echo(f"           {rows:>12,}  {name}")
    typer.echo(f"journals   {told['journal']}")
    for each in told["journals"]:
        owner = "of a living process" if each["alive"] else "left behind; the next start folds it"
        typer.echo(f"           {_size(each['bytes']):>12}  {each['id']}  {owner}")


@app.command()
def prune(config: ConfigOption = None) -> None:
    """Delete now what is older than `records.retention`."""
    from datetime import UTC, datetime, timedelta

    from aibridge.records.auditing import note
    from aibridge.records.retention import prune

    settings = load_config(config).records
    if settings.retention == "off":
        fail("records.retention is off: nothing is ever too old")
    before = datetime.now(UTC) - timedelta(seconds=settings.retention)
    with _store(settings) as store:
        gone, older = prune(store, before), f"older than {before:%Y-%m-%d %H:%M} UTC"
        note(store, actor(), "records.prune", older, _plain(gone))
    _tell(gone, f"deleted, {older}:", f"nothing is {older}")


@app.command()
def forget(
    user: Annotated[str | None, typer.Option(help="The end user, as requests name it.")] = None,
    caller: Annotated[
        str | None, typer.Option(help="The caller, as `aibridge usage --by caller` shows it.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The id of a key.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it the rows are only counted.")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete all rows of one user, caller or key, hidden turns and kept answers too."""
    from aibridge.records.auditing import note
    from aibridge.records.forgetting import Whom, count
    from aibridge.records.forgetting import forget as forget_all

    given = [("user", user), ("caller", caller), ("key_id", key)]
    wanted = [Whom.named(name, value) for name, value in given if value]
    if len(wanted) != 1:
        fail("name one of --user, --caller and --key")
    [whom] = wanted
    with _store(load_config(config).records) as store:
        if yes:
            rows = forget_all(store, whom)
            # Who is forgotten is not written down again.
            note(store, actor(), "records.forget", whom.property.removesuffix("_id"), _plain(rows))
        else:
            with store.reading() as connection:
                rows = count(connection, whom)
    of = f"of the {whom.property.removesuffix('_id')} {whom.value}"
    _tell(rows, f"{'deleted' if yes else 'there are'}, {of}:", f"there is nothing {of}")
    if rows.total() and not yes:
        typer.echo("nothing was deleted; --yes deletes")


def _tell(rows: Counter[str], heading: str, nothing: str) -> None:
    typer.echo(printable(heading if rows.total() else nothing))
    for name, number in rows.items():
        if number:
            typer.echo(f"{number:>12,}  {name.replace('_', ' ')}")


def _plain(rows: Counter[str]) -> dict[str, int]:
    """For the audit."""
    return {name: number for name, number in rows.items() if number}


def _size(number: int | None) -> str:
    if number is None:
        return "–"
    return f"{number / (1 << 20):,.1f} MiB"


@contextmanager
def _store(settings: "Records") -> Iterator["Store"]:
    """The database, where there is one."""
    from aibridge.records.opening import is_anything

    with failures_told():
        if settings.enabled and not is_anything(settings):
            fail(f"there are no records yet: neither {settings.url} nor a journal in {settings.journal}")
    with opened_store(settings) as store:
        yield store
