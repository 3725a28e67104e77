"""`aibridge keys`: makes, shows and ends keys, in the records' database, whether a server runs or not.

A running server takes a change up within a second. What happens is `access`'s business.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge.cli.options import ConfigOption, actor, fail, load_config, printable
from aibridge.cli.stores import failures_told

if TYPE_CHECKING:
    from aibridge.access import Administration
    from aibridge.config import KeyTold

app = typer.Typer(help="Keys of callers: what they may use, and how much.", no_args_is_help=True)
Format = Annotated[str, typer.Option("--format", help="text or json.")]
Named = Annotated[str, typer.Argument(metavar="KEY", help="Its id, its name, or how its id begins.")]
Patterns = Annotated[str | None, typer.Option(metavar="PATTERNS", help="Comma list of patterns; all.")]
NUMBERS = {"rpm": "requests a minute", "tpm": "tokens a minute", "concurrency": "at a time"}
KEEPS = ("prompts", "arguments", "results")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    models: Patterns = None,
    tools: Annotated[
        str | None, typer.Option(metavar="PATTERNS", help="Of servers or server__tool; all.")
    ] = None,
    inject: Annotated[
        bool | None, typer.Option("--inject/--no-inject", help="Tools by default, or never; as configured.")
    ] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at a time.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="DOLLARS/PERIOD", help="For example 50/30d.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="How long it is valid: 90d.")] = None,
    prompts: Annotated[bool | None, typer.Option("--prompts/--no-prompts", help="Keep prompts.")] = None,
    arguments: Annotated[
        bool | None, typer.Option("--arguments/--no-arguments", help="Keep tool arguments.")
    ] = None,
    results: Annotated[bool | None, typer.Option("--results/--no-results", help="Keep tool results.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="NAME=WORD", help="Words of your own.")
    ] = None,
    form: Format = "text",
    config: ConfigOption = None,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    given = {
        **{"name": name, "models": _list(models), "tools": _list(tools), "inject": inject},
        **{"rpm": rpm, "tpm": tpm, "concurrency": concurrency, "budget": budget, "expires": expires},
        **{"prompts": prompts, "arguments": arguments, "results": results},
        "metadata": dict(_pair(each) for each in metadata or ()),
    }
    wanted = _wanted({key: value for key, value in given.items() if value is not None})
    with _administration(config, form) as keys:
        told, text = keys.create(actor(), wanted)
    _tell_new(told, text, form)


@app.command(name="list")
def list_keys(form: Format = "text", config: ConfigOption = None) -> None:
    """Show all keys."""
    with _administration(config, form) as keys:
        found = keys.list()
    if form == "json":
        _tell_json([each.model_dump(mode="json") for each in found])
        return
    _print_table(
        ("id", "name", "state", "models", "tools", "limits", "budget", "expires"),
        [
            (
                *(key.id, key.name, key.state, _words(key.models), _words(key.tools)),
                *(_limits(key), key.budget or "", _day(key.expires_at)),
            )
            for key in found
        ],
    )


@app.command()
def show(named: Named, form: Format = "text", config: ConfigOption = None) -> None:
    """Show one key, with what it spent in the running period of its budget."""
    with _administration(config, form) as keys:
        told = keys.show(named)
    _tell(told, form)


@app.command()
def revoke(named: Named, form: Format = "text", config: ConfigOption = None) -> None:
    """End a key for good; running servers refuse it within a second."""
    with _administration(config, form) as keys:
        told = keys.revoke(actor(), named)
    _tell(told, form)


@app.command()
def rotate(
    named: Named,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long the old one still works: 1d; not at all.")
    ] = None,
    form: Format = "text",
    config: ConfigOption = None,
) -> None:
    """Give a key a new text; id, rules and budget stay. The old one ends at once, or after --grace."""
    with _administration(config, form) as keys:
        told, text = keys.rotate(actor(), named, _seconds("--grace", grace))
    _tell_new(told, text, form)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    form: Format = "text",
    config: ConfigOption = None,
) -> None:
    """Show who changed what, the newest first."""
    with _administration(config, form) as keys:
        rows = keys.audit(limit)
    if form == "json":
        _tell_json([{**row, "at": row["at"].isoformat()} for row in rows])
        return
    _print_table(
        ("at", "actor", "action", "subject", "detail"),
        [
            (
                *(f"{row['at']:%Y-%m-%d %H:%M:%S}", row["actor"], row["action"], row["subject"]),
                json.dumps(row["detail"] or {}, ensure_ascii=False),
            )
            for row in rows
        ],
    )


@contextmanager
def _administration(path: Path | None, form: str) -> Iterator["Administration"]:
    """What looks after the keys; errors end the command."""
    from aibridge import records
    from aibridge.access import Administration
    from aibridge.errors import BridgeError

    if form not in ("text", "json"):
        fail(f"--format cannot be {form!r}; write one of text, json")
    settings = load_config(path)
    try:
        with failures_told():
            shelf = records.open_key_shelf(settings.records, records.prices_of(settings))
            with closing(shelf):
                yield Administration(shelf)
    except BridgeError as error:
        fail(error.message)


def _wanted(given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from aibridge.config import NewKey

    try:
        return NewKey.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        option = "NAME" if name == "name" else f"--{name}"
        fail(f"{option}: {problem['msg'].removeprefix('Value error, ')}")


def _seconds(option: str, text: str | None) -> float:
    from pydantic import TypeAdapter, ValidationError

    from aibridge.config.units import Duration

    if text is None:
        return 0.0
    try:
        seconds: float = TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        fail(f"{option} cannot be {text!r}; write a number with s, m, h or d, for example 1d")
    return seconds


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [word for each in text.split(",") if (word := each.strip())]


def _pair(text: str) -> tuple[str, str]:
    name, equals, word = text.partition("=")
    if not (name and equals):
        fail(f"--metadata cannot be {text!r}; write NAME=WORD")
    return name, word


def _tell_new(told: "KeyTold", text: str, form: str) -> None:
    if form == "json":
        _tell_json({**told.model_dump(mode="json"), "key": text})
        return
    typer.echo(text)
    typer.echo(f"This is key {told.id} ({printable(told.name)}); it is not shown again.", err=True)


def _tell(told: "KeyTold", form: str) -> None:
    values = told.model_dump(mode="json")
    if form == "json":
        _tell_json(values)
        return
    for name, value in values.items():
        if value not in (None, {}):
            shown = _words(value) if isinstance(value, list) else value
            typer.echo(printable(f"{name:<12}{shown}"))


def _tell_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _words(patterns: Sequence[str]) -> str:
    return ", ".join(patterns) or "none"


def _limits(key: "KeyTold") -> str:
    values = ((getattr(key, name), what) for name, what in NUMBERS.items())
    return ", ".join(f"{value} {what}" for value, what in values if value is not None)


def _day(moment: Any) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(soft_wrap=False).print(table)
