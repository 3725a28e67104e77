"""`aibridge usage tail`: exchanges as they end, read from the database twice a second."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from aibridge.cli.figures import heading, line_of
from aibridge.nouns import Filter

if TYPE_CHECKING:
    from aibridge.records.questions import Questions

PAUSE = 0.5
"""Seconds between two looks."""
LATE = timedelta(seconds=10)
"""How long another process may take to write what it began; older beginnings are not looked for."""
MOST_RUNNING = 500


def follow(questions: "Questions", wanted: Filter, lines: int, form: str) -> None:
    """Tell the last ones, then each that ends, for ever."""
    if form == "table":
        typer.echo(heading())
    begun = datetime.now(UTC)
    following = Following(questions, wanted, begun)
    last = questions.page(wanted, None, lines).exchanges if lines else []
    for row in reversed(last):
        if row["status"] != "running":
            following.told[row["id"]] = row["started_at"]
            typer.echo(line_of(row, form))
    while True:
        for row in following.ended():
            typer.echo(line_of(row, form))
        time.sleep(PAUSE)


class Following:
    """What was told, and what runs."""

    def __init__(self, questions: "Questions", wanted: Filter, begun: datetime) -> None:
        self._questions, self._wanted, self._since = questions, wanted, begun
        self._running: list[str] = []
        self.told: dict[str, datetime] = {}

    def ended(self) -> Iterator[Any]:
        """Exchanges that ended since the last look, those that began first first."""
        after = max(self._since, self._wanted.since or self._since)
        now = datetime.now(UTC)
        found = {row["id"]: row for row in self._questions.these(self._running)} if self._running else {}
        for row in self._begun(after):
            found[row["id"]] = row
        new = [row for row in found.values() if row["id"] not in self.told]
        self._running = [row["id"] for row in new if row["status"] == "running"][-MOST_RUNNING:]
        for row in new:
            if row["status"] != "running":
                self.told[row["id"]] = row["started_at"]
                yield row
        self._since = max(self._since, now - LATE)
        old = self._since - LATE
        self.told = {name: when for name, when in self.told.items() if when >= old}

    def _begun(self, after: datetime) -> Iterator[Any]:
        """Exchanges that began then or later."""
        wanted, place = replace(self._wanted, since=after), (after, "")
        while rows := self._questions.newer(wanted, place):
            yield from rows
            place = (rows[-1]["started_at"], rows[-1]["id"])
