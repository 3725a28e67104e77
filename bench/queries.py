"""How long questions take over many exchanges: `python -m bench.queries [COUNT] [--url URL]`.

Makes COUNT exchanges (a million) over 90 days in a temporary folder, summarises past days as a server does,
and asks what people ask, each question with a connection of its own. Status 1 if one takes over 2 s.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from aibridge.config import DatabaseUrl
from aibridge.nouns import Filter
from aibridge.records import listing, queries
from aibridge.records.narrowing import BY
from aibridge.records.store import Store
from aibridge.records.totals import totals
from bench.records import ago, make, summarise, write

GOAL = 2.0
"""Seconds."""
DAYS = 90
Question = Callable[[Connection], object]


def main() -> int:
    """Measure; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--url", help="an empty database; default: SQLite in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = DatabaseUrl(options.url or f"sqlite:///{Path(folder) / 'many.db'}")
        _fill(url, options.count)
        slowest = max(_measure(url, name, ask) for name, ask in _questions())
    _say(f"slowest: {slowest:.2f} s, goal {GOAL:g} s")
    return int(slowest > GOAL)


def _fill(url: DatabaseUrl, count: int) -> None:
    store = Store(url)
    store.open()
    began = time.monotonic()
    for made in make(count, ago(DAYS), ago(0)):
        write(store, made)
    _say(f"{count:,} exchanges made in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    days = summarise(store, ago(0))
    took = time.monotonic() - began
    _say(f"{days} days summarised, {1000 * took / max(1, days):.0f} ms a day")
    store.close()


def _questions() -> list[tuple[str, Question]]:
    asked: list[tuple[str, Question]] = [(f"by {by}", _by(by, Filter())) for by in BY]
    asked += [
        (f"by {by}, 7 days and a bit", _by(by, Filter(since=ago(7.3)))) for by in ("model", "tool", "day")
    ]
    asked += [
        ("by day, one model", _by("day", Filter(model="gpt-5"))),
        ("by model, one user", _by("model", Filter(user="user-7"))),
        ("by tool, one session", _by("tool", Filter(session="session-77"))),
        ("by model, one client, 7 days", _by("model", Filter(client="codex", since=ago(7)))),
        ("page of all", lambda connection: listing.page(connection, Filter())),
        ("page of errors", lambda connection: listing.page(connection, Filter(status="error"))),
        ("page of a user and a model", _page(Filter(user="user-7", model="gpt-5"))),
        ("page of a tool", _page(Filter(tool="git/diff"))),
        ("page of nobody", _page(Filter(user="nobody"))),
        ("the last exchange", lambda connection: queries.exchange(connection, "last")),
    ]
    return asked


def _by(by: str, wanted: Filter) -> Question:
    return lambda connection: totals(connection, by, wanted)


def _page(wanted: Filter) -> Question:
    return lambda connection: listing.page(connection, wanted)


def _measure(url: DatabaseUrl, name: str, ask: Question) -> float:
    store = Store(url)
    began, busy = time.monotonic(), time.process_time()
    with store.reading() as connection:
        ask(connection)
    took, busy = time.monotonic() - began, time.process_time() - busy
    store.close()
    _say(f"{took:6.3f} s  ({busy:.3f} s of CPU)  {name}")
    return took


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
