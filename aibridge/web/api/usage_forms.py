"""What `/api` is asked of the records, and what it answers, as models that check and describe it."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from aibridge.config.units import moment
from aibridge.nouns import By, Filter, Total
from aibridge.web.api.describing import Query


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
    limit: int | None = Field(None, ge=1, le=100_000, description="groups at most; absent: all")


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
    failed_attempts: list[dict[str, Any]]
    run: list[dict[str, Any]]
