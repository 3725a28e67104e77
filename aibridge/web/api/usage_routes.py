"""`/api/usage`, `/api/exchanges`, `/api/export`: the questions that `aibridge usage` asks, as JSON.

The database is asked in threads. A wrong name is 404, a wrong cursor 400, a database that fails 503.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from starlette.responses import StreamingResponse

from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Filter, Total
from aibridge.web.api.describing import ApiRoute, Asked
from aibridge.web.api.usage_forms import Exchanges, ExportQuery, PageQuery, Told, Usage, UsageQuery

T = TypeVar("T")
MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
NAMED = {"id": "an exchange's id, how it begins, or `last`"}


class PageLike(Protocol):
    """A part of a list."""

    @property
    def exchanges(self) -> Sequence[Mapping[str, Any]]:
        """Newest first."""
        ...

    @property
    def next(self) -> str | None:
        """The cursor of the next page."""
        ...


class StoryLike(Protocol):
    """One exchange whole."""

    def plain(self) -> Mapping[str, Any]:
        """As one object."""
        ...


class Asks(Protocol):
    """What these routes need of the records; all of it blocks."""

    def totals(self, by: str, wanted: Filter, most: int | None = None) -> list[Total]:
        """Figures by a property, of `most` groups at most."""
        ...

    def page(self, wanted: Filter, cursor: str | None, limit: int) -> PageLike:
        """A part of a list."""
        ...

    def story(self, name: str) -> StoryLike:
        """One exchange."""
        ...

    def written(self, wanted: Filter, form: str) -> Iterator[str]:
        """An export in pieces."""
        ...


class UsageRoutes:
    """The routes."""

    def __init__(self, asks: Callable[[], Asks], *, wrong: type[Exception], failing: type[Exception]) -> None:
        """`wrong` and `failing`: what the records raise for a wrong name, and while they fail."""
        self._asks, self._wrong, self._failing = asks, wrong, failing

    def routes(self) -> tuple[ApiRoute, ...]:
        """For the table of `/api`."""
        listed = "Exchanges, newest first."
        route = partial(ApiRoute, "GET", refuses=(404,))
        return (
            route("/api/usage", "Figures by a property.", self._usage, Usage, query=UsageQuery),
            route("/api/exchanges", listed, self._exchanges, Exchanges, query=PageQuery),
            route("/api/exchanges/{id}", "One exchange.", self._exchange, Told, told_in_path=NAMED),
            route(
                "/api/export",
                "All columns of exchanges, oldest first.",
                self._export,
                str,
                query=ExportQuery,
                media=tuple(MEDIA.values()),
            ),
        )

    async def _usage(self, asked: Asked) -> dict[str, Any]:
        query: UsageQuery = asked.query
        by, wanted, most = query.by, query.filter(), query.limit
        groups = await self._ask(lambda: self._asks().totals(by, wanted, most), Kind.BAD_REQUEST)
        return {"by": by, "since": wanted.since, "until": wanted.until, "groups": groups}

    async def _exchanges(self, asked: Asked) -> PageLike:
        query: PageQuery = asked.query
        wanted = query.filter()
        return await self._ask(lambda: self._asks().page(wanted, query.cursor, query.limit), Kind.BAD_REQUEST)

    async def _exchange(self, asked: Asked) -> Mapping[str, Any]:
        return (await self._ask(lambda: self._asks().story(asked.path["id"]), Kind.NOT_FOUND)).plain()

    async def _export(self, asked: Asked) -> StreamingResponse:
        query: ExportQuery = asked.query
        pieces = self._asks().written(query.filter(), query.format)
        # A database that is away is still told.
        first = await self._ask(lambda: next(pieces, ""), Kind.BAD_REQUEST)
        name = f'attachment; filename="exchanges.{query.format}"'
        headers = {"content-disposition": name}
        return StreamingResponse(_joined(first, pieces), media_type=MEDIA[query.format], headers=headers)

    async def _ask(self, question: Callable[[], T], kind: Kind) -> T:
        """The answer, from a thread. Raises BridgeError: `kind` for a wrong name, 503 for the database."""
        try:
            return await asyncio.to_thread(question)
        except self._wrong as error:
            raise BridgeError(kind, str(error)) from error
        except self._failing as error:
            sentence = f"the records' database cannot be read: {error}"
            raise BridgeError(Kind.OVERLOADED, sentence, retry_after=1) from error


def _joined(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
