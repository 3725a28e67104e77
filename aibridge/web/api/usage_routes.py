"""`/api/usage`, `/api/exchanges`, `/api/export`: the questions that `aibridge usage` asks, as JSON.

The database is asked in threads. A wrong name is 404, a wrong cursor 400, a database that fails 503.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.responses import StreamingResponse

from aibridge.config.units import moment
from aibridge.errors import BridgeError, Kind
from aibridge.nouns import By, Filter, Total
from aibridge.web.api.describing import ApiRoute, Asked, Query

T = TypeVar("T")
MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv"}


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

    def totals(self, by: str, wanted: Filter) -> list[Total]:
        """Figures by a property."""
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


def _moment(value: Any) -> Any:
    return moment(value, datetime.now(UTC)) if isinstance(value, str) else value


Moment = Annotated[
    datetime | None,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,9}(ms|s|m|h|d)$"},
                {"type": "string", "format": "date"},
                {"type": "string", "format": "date-time"},
                {"const": "all"},
            ]
        }
    ),
]


class Which(Query):
    """Which exchanges are meant."""

    since: Moment = Field("7d", validate_default=True, description="started then or later: 7d, a date, all")
    until: Moment = Field(None, description="started before: 1d (ago), a date or time")
    model: str | None = Field(None, description="as it was asked for")
    user: str | None = Field(None, description="the user that requests name")
    key: str | None = Field(None, description="a key's id")
    client: str | None = Field(None, description="the program")
    upstream: str | None = Field(None, description="the upstream's name")
    caller: str | None = Field(None, description="a key's id, or the HMAC of a credential")
    session: str | None = Field(None, description="the client's session")
    tool: str | None = Field(None, description="called this tool: server/tool, or the name of a client's")
    server: str | None = Field(None, description="called a tool of this MCP server")
    status: Literal["running", "completed", "failed", "cancelled", "interrupted", "error"] | None = Field(
        None, description="how it ended; error: failed or interrupted"
    )

    def filter(self) -> Filter:
        """As the records know it."""
        return Filter(**{name: getattr(self, name) for name in Which.model_fields})


class UsageQuery(Which):
    """Totals."""

    by: By = Field("model", description="what groups are groups of")


class PageQuery(Which):
    """A part of a list."""

    cursor: str | None = Field(None, description="`next` of the page before")
    limit: int = Field(50, ge=1, le=1000, description="exchanges of a page")


class ExportQuery(Which):
    """An export."""

    format: Literal["jsonl", "csv"] = Field("jsonl", description="lines of JSON, or CSV with a heading")


class Usage(BaseModel):
    """Totals of a period."""

    by: By
    since: datetime | None
    until: datetime | None
    groups: list[Total]


class Exchange(BaseModel):
    """One exchange with the sums of its rounds; and all other columns of the records."""

    model_config = ConfigDict(extra="allow")

    id: str
    started_at: datetime | None
    ended_at: datetime | None
    status: str
    model: str | None
    upstream: str | None
    caller: str | None


class Listed(Exchange):
    """An exchange of a list."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    cost_micros: int | None
    calls: int


class Exchanges(BaseModel):
    """A page, newest first."""

    exchanges: list[Listed]
    next: str | None


class Told(Exchange):
    """One exchange whole."""

    prompt: str | None
    token_usages: list[dict[str, Any]]
    tool_calls: list[dict[str, Any]]
    thoughts: list[dict[str, Any]]
    run: list[dict[str, Any]]


def usage_routes(
    asks: Callable[[], Asks], *, wrong: type[Exception], failing: type[Exception]
) -> tuple[ApiRoute, ...]:
    """The routes; `wrong` and `failing` are what the records raise for a wrong name, and while they fail."""

    async def ask(question: Callable[[], T], kind: Kind) -> T:
        try:
            return await asyncio.to_thread(question)
        except wrong as error:
            raise BridgeError(kind, str(error)) from error
        except failing as error:
            sentence = f"the records' database cannot be read: {error}"
            raise BridgeError(Kind.OVERLOADED, sentence, retry_after=1) from error

    async def usage(asked: Asked) -> dict[str, Any]:
        query: UsageQuery = asked.query
        wanted = query.filter()
        groups = await ask(lambda: asks().totals(query.by, wanted), Kind.BAD_REQUEST)
        return {"by": query.by, "since": wanted.since, "until": wanted.until, "groups": groups}

    async def exchanges(asked: Asked) -> PageLike:
        query: PageQuery = asked.query
        return await ask(lambda: asks().page(query.filter(), query.cursor, query.limit), Kind.BAD_REQUEST)

    async def exchange(asked: Asked) -> Mapping[str, Any]:
        return (await ask(lambda: asks().story(asked.path["id"]), Kind.NOT_FOUND)).plain()

    async def export(asked: Asked) -> StreamingResponse:
        query: ExportQuery = asked.query
        pieces = asks().written(query.filter(), query.format)
        first = await ask(lambda: next(pieces, ""), Kind.BAD_REQUEST)  # a database that is away is still told
        name = f'attachment; filename="exchanges.{query.format}"'
        media = MEDIA[query.format]
        return StreamingResponse(
            _joined(first, pieces), media_type=media, headers={"content-disposition": name}
        )

    route = partial(ApiRoute, refuses=(404,))
    found = {"id": "an exchange's id, how it begins, or `last`"}
    return (
        route("GET", "/api/usage", "Figures by a property.", usage, Usage, query=UsageQuery),
        route("GET", "/api/exchanges", "Exchanges, newest first.", exchanges, Exchanges, query=PageQuery),
        route("GET", "/api/exchanges/{id}", "One exchange.", exchange, Told, told_in_path=found),
        route(
            "GET",
            "/api/export",
            "All columns of exchanges, oldest first.",
            export,
            str,
            query=ExportQuery,
            media=tuple(MEDIA.values()),
        ),
    )


def _joined(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
