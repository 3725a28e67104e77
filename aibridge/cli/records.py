"""`aibridge records`: what is pending and how large all is, old rows deleted now, one user forgotten."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from aibridge.cli.options import ConfigOption, fail, load_config, printable, warn

if TYPE_CHECKING:
    from aibridge.config import Records
    from aibridge.records.forgetting import Whom
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

    from aibridge.records.retention import prune

    settings = load_config(config).records
    if settings.retention == "off":
        fail("records.retention is off: nothing is ever too old")
    before = datetime.now(UTC) - timedelta(seconds=settings.retention)
    with _store(settings) as store:
        _tell("deleted", prune(store, before), f"nothing is older than {before:%Y-%m-%d %H:%M} UTC")


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
    from aibridge.records.forgetting import Whom, count
    from aibridge.records.forgetting import forget as forget_all

    given = [("user", user), ("caller", caller), ("key_id", key)]
    wanted = [Whom(name, value) for name, value in given if value]
    if len(wanted) != 1:
        fail("name one of --user, --caller and --key")
    [whom] = wanted
    with _store(load_config(config).records) as store:
        if yes:
            _tell("deleted", forget_all(store, whom), _nothing(whom))
            return
        with store.reading() as connection:
            _tell("would be deleted", count(connection, whom), _nothing(whom))
    typer.echo("nothing was deleted; --yes deletes")


def _nothing(whom: "Whom") -> str:
    return f"there are no rows of the {whom.property.removesuffix('_id')} {whom.value}"


def _tell(done: str, rows: Counter[str], nothing: str) -> None:
    if not rows.total():
        typer.echo(printable(nothing))
    for name, number in rows.items():
        if number:
            typer.echo(f"{number:>12,}  {name}  {done}")


def _size(number: int | None) -> str:
    if number is None:
        return "–"
    return f"{number / (1 << 20):,.1f} MiB"


@contextmanager
def _store(settings: "Records") -> Iterator["Store"]:
    """The database, with what ended processes left; errors end the command."""
    import structlog

    from aibridge.records.failures import DatabaseFailing, RecordsError
    from aibridge.records.opening import open_store

    quiet = structlog.make_filtering_bound_logger("error")
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        store, problem = open_store(settings)
        if problem:
            warn(problem)
        try:
            yield store
        finally:
            store.close()
    except RecordsError as error:
        fail(str(error))
    except DatabaseFailing as error:
        fail(f"the records' database failed: {error}")
