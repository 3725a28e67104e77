"""How long questions take over many exchanges: `python -m bench.queries [COUNT] [--url URL]`.

Makes COUNT exchanges (a million) over 90 days in a temporary folder, or in the empty database at URL,
summarises past days as a server does, and asks what people ask, each question with a connection of its own.
A database that was filled is asked again. Writes a Markdown table; status 1 if an answer takes over 2 s.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from aibridge.config import DatabaseUrl
from aibridge.nouns import Filter
from aibridge.records import listing, queries
from aibridge.records.exporting import written
from aibridge.records.forgetting import Whom, count
from aibridge.records.key_shelf import KeyShelf
from aibridge.records.narrowing import BY
from aibridge.records.store import Store
from aibridge.records.tables import exchanges
from aibridge.records.totals import totals
from bench.records import ago, make, summarise, write

GOAL = 2.0
"""Seconds."""
DAYS = 90
EXPORTED = 2000
"""Exchanges of an export that are waited for."""
MIDDLE = 45
"""Days ago; where stories and later pages are taken from."""
Question = Callable[[Store], object]


def main() -> int:
    """Measure; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--url", help="a database, filled if it is empty; default: SQLite in a new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = DatabaseUrl(options.url or f"sqlite:///{Path(folder) / 'many.db'}")
        some = _filled(url, options.count)
        _say("| question | seconds | of them CPU of the asking process |\n|---|---|---|")
        slowest = max(_measure(url, name, ask) for name, ask in _questions(*some))
    _say(f"\nslowest: {slowest:.2f} s, goal {GOAL:g} s")
    return int(slowest > GOAL)


def _filled(url: DatabaseUrl, count: int) -> tuple[str, str]:
    """Make the exchanges unless they are there; id and cursor of one in their middle."""
    store = Store(url)
    store.open()
    if not _middle(store):
        _fill(store, count)
    [row] = _middle(store)
    store.close()
    return row["id"], listing.write_cursor(row)


def _fill(store: Store, count: int) -> None:
    began = time.monotonic()
    for made in make(count, ago(DAYS), ago(0)):
        write(store, made)
    _say(f"{count:,} exchanges made in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    days = summarise(store, ago(0))
    took = time.monotonic() - began
    _say(f"{days} days summarised, {1000 * took / max(1, days):.0f} ms a day\n")


def _middle(store: Store) -> list[listing.Row]:
    """An exchange in the middle, if there is one."""
    with store.reading() as connection:
        started = exchanges.c.started_at
        query = sa.select(exchanges).where(started < ago(MIDDLE)).order_by(started.desc()).limit(1)
        return [dict(row) for row in connection.execute(query).mappings()]


def _questions(name: str, cursor: str) -> list[tuple[str, Question]]:
    """Of an exchange in the middle, name and cursor."""
    return [*_of_totals(), *_of_lists(cursor), *_of_one(name)]


def _of_totals() -> list[tuple[str, Question]]:
    week = ago(7.3)
    return [
        *((f"by {by}", _by(by, Filter())) for by in BY),
        ("by session, the first 500", _read(lambda asked: totals(asked, "session", Filter(), 500))),
        *((f"by {by}, 7 days and a bit", _by(by, Filter(since=week))) for by in ("model", "tool", "day")),
        ("by day, one model", _by("day", Filter(model="gpt-5"))),
        ("by model, one user", _by("model", Filter(user="user-7"))),
        ("by tool, one session", _by("tool", Filter(session="session-77"))),
        ("by model, one client, 7 days", _by("model", Filter(client="codex", since=ago(7)))),
    ]


def _of_lists(cursor: str) -> list[tuple[str, Question]]:
    user = Filter(user="user-7", model="gpt-5")
    return [
        ("page of all", _page(Filter())),
        ("page of all, from the middle on", _page(Filter(), cursor)),
        ("page of errors", _page(Filter(status="error"))),
        ("page of errors, from the middle on", _page(Filter(status="error"), cursor)),
        ("page of a user and a model", _page(user)),
        ("page of a user and a model, from the middle on", _page(user, cursor)),
        ("page of a client", _page(Filter(client="codex", upstream="local"))),
        ("page of a tool", _page(Filter(tool="git/diff"))),
        ("page of a server, from the middle on", _page(Filter(server="git"), cursor)),
        ("page of nobody", _page(Filter(user="nobody"))),
        ("page of no client", _page(Filter(client="nobody"))),
        ("page of no tool", _page(Filter(tool="git/nothing"))),
        ("export of all as CSV, the first 2000", _export(Filter(), "csv")),
        ("export of a user as JSON lines, the first 2000", _export(Filter(user="user-7"), "jsonl")),
        ("export of a tool, the first 2000", _export(Filter(tool="git/diff"), "jsonl")),
    ]


def _of_one(name: str) -> list[tuple[str, Question]]:
    return [
        ("the last exchange", _story("last")),
        ("an exchange by its id", _story(name)),
        ("an exchange by how its id begins", _story(name[:13])),
        ("what is to be forgotten of a user", _read(lambda asked: count(asked, Whom("user", "user-7")))),
        ("what a key spent in 30 days", lambda store: KeyShelf(store).spent("key-7", ago(30))),
    ]


def _read(ask: Callable[[Connection], object]) -> Question:
    def question(store: Store) -> None:
        with store.reading() as connection:
            ask(connection)

    return question


def _by(by: str, wanted: Filter) -> Question:
    return _read(lambda connection: totals(connection, by, wanted))


def _page(wanted: Filter, cursor: str | None = None) -> Question:
    return _read(lambda connection: listing.page(connection, wanted, cursor))


def _story(name: str) -> Question:
    return _read(lambda connection: queries.exchange(connection, name))


def _export(wanted: Filter, form: str) -> Question:
    return lambda store: list(written(islice(listing.export(store, wanted), EXPORTED), form))


def _measure(url: DatabaseUrl, name: str, ask: Question) -> float:
    store = Store(url)
    began, busy = time.monotonic(), time.process_time()
    ask(store)
    took, busy = time.monotonic() - began, time.process_time() - busy
    store.close()
    _say(f"| {name} | {took:.3f} | {busy:.3f} |")
    return took


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
