"""What tests of the records tell, and where: facts of made-up exchanges, records in a folder of the test."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import NullPool

from aibridge.config import Records
from aibridge.facts import CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.ids import new_id
from aibridge.nouns import Caller, Usage
from aibridge.records import Recorder, open_records
from aibridge.records.tables import metadata
from tests.support.processes import run

ROOT = Path(__file__).parents[2]

NOON = 1_767_268_800.0
"""2026-01-01 12:00 UTC."""
PROMPT, THOUGHT, ARGUMENT, RESULT = "a-question", "a-thought", "an-argument", "a-result"


def records_in(folder: Path, **keep: bool) -> Records:
    """Records whose database and journal are in `folder`."""
    return Records(url=f"sqlite:///{folder / 'aibridge.db'}", journal=str(folder / "journal"), **keep)


@dataclass(frozen=True, slots=True)
class Place:
    """A database of either kind, and a folder with journals that are folded into it."""

    folder: Path
    url: str

    def config(self, journal: str = "journal", **more: Any) -> Records:
        """Records there."""
        return Records(url=self.url, journal=str(self.folder / journal), **more)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables of the records, comparable."""
        return {
            name: sorted(self.select(f'SELECT * FROM "{name}"'), key=repr)
            for name in metadata.tables
            if name not in ("settings", "summary_days")  # how often past days changed is none of theirs
        }


def in_sqlite(folder: Path) -> Place:
    """In a file of `folder`."""
    return Place(folder, f"sqlite:///{folder / 'aibridge.db'}")


def in_postgres(folder: Path, url: str) -> Place:
    """In the database at `url`."""
    return Place(folder, url)


@contextmanager
def recording(config: Records) -> Iterator[Recorder]:
    """A recorder that is closed at the end."""
    recorder = open_records(config)
    try:
        yield recorder
    finally:
        recorder.close()


def started(exchange: str, **changes: Any) -> ExchangeStarted:
    """The beginning of an exchange."""
    values = {
        "started_at": NOON,
        "caller": Caller("anonymous", "Codex", "codex_cli_rs/1.0", "session-1"),
        "api": "chat_completions",
        "path": "/v1/chat/completions",
        "model": "gpt-5",
        "upstream": "openai",
        "streamed": True,
        "injected_tools": 3,
        "user": "ada",
        "prompt": PROMPT,
        "metadata": {"team": "search"},
    }
    return ExchangeStarted(exchange, **{**values, **changes})


def round_ended(exchange: str, number: int = 1, **changes: Any) -> RoundEnded:
    """A round with figures of its own."""
    usage = Usage(input=100, cache_read=20, cache_write=5, output=30, reasoning=10, other={"tier": "flex"})
    values = {"usage": usage, "response_id": f"resp-{number}", "model": "gpt-5-2026", "thought": THOUGHT}
    return RoundEnded(exchange, number, **{**values, **changes})


def call_ended(exchange: str, **changes: Any) -> CallEnded:
    """An injected call that went well."""
    values = {
        "round": 1,
        "call_id": "call_1",
        "name": "time__now",
        "injected": True,
        "arguments": f'{{"of": "{ARGUMENT}"}}',
        "status": "ok",
        "started_at": NOON + 1,
        "duration_ms": 12,
        "server": "time",
        "tool": "now",
        "result": RESULT,
    }
    return CallEnded(exchange_id=exchange, **{**values, **changes})


def ended(exchange: str, **changes: Any) -> ExchangeEnded:
    """A good ending."""
    values = {
        "ended_at": NOON + 2.5,
        "status": "completed",
        "http_status": 200,
        "rounds": 2,
        "attempts": 2,
        "model": "gpt-5-2026",
        "response_id": "resp-1",
        "first_byte_ms": 120,
        "first_text_ms": 150,
        "upstream_ms": 2400,
        "tools_ms": 12,
        "overhead_ms": 0.35,
        "upstream": "openai",
    }
    return ExchangeEnded(exchange, **{**values, **changes})


def whole(exchange: str | None = None) -> list[Fact]:
    """All facts of one exchange of two rounds and a call."""
    name = exchange or new_id()
    return [started(name), round_ended(name, 1), call_ended(name), round_ended(name, 2), ended(name)]


def select(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What the database in `folder` answers."""
    with closing(sqlite3.connect(folder / "aibridge.db")) as database:
        return database.execute(query).fetchall()


def dump(folder: Path) -> list[str]:
    """Everything in the database in `folder`, comparable: how often past days changed is left out."""
    with closing(sqlite3.connect(folder / "aibridge.db")) as database:
        return sorted(line for line in database.iterdump() if '"summary_days" VALUES' not in line)


def child(code: str, folder: Path, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own that has this module's names, and `config` for `folder`."""
    return run(child_command(code, folder, url), ROOT, dict(os.environ))


def child_command(code: str, folder: Path, url: str | None = None) -> list[str]:
    """What runs `code` so; in ROOT."""
    place = in_sqlite(folder) if url is None else Place(folder, url)
    prelude = f"""
import os, signal, sys
from pathlib import Path
from tests.records.telling import *
from aibridge.records import open_records
place = Place(Path({str(folder)!r}), {place.url!r})
config = place.config()
"""
    return [sys.executable, "-W", "error", "-c", prelude + code]
