"""What a route of `/api` is: its path, what it takes, what it answers. Serving and OpenAPI read the same.

The models are pydantic's; a field's description is the parameter's.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from aibridge.web.headers import Scope

IN_PATH = re.compile(r"\{(\w+)\}")


class Query(BaseModel):
    """Parameters or a body: unknown names are refused, errors do not repeat what was written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Nothing(Query):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read and checked."""

    path: Mapping[str, str]
    """The values of the names in the route's path."""
    query: Any
    """An instance of the route's `query`."""
    body: Any
    """An instance of the route's `body`; None where it has none."""
    actor: str
    """Who is calling, for the audit: what the guard said."""
    scope: Scope


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A route: `answer` gives what `returns` describes, or a Starlette response of its own.

    `answer` raises BridgeError for what it refuses. Names in `path` stand in braces, without a slash.
    """

    method: str
    path: str
    summary: str
    """One sentence for the document."""
    answer: Callable[[Asked], Awaitable[Any]]
    returns: Any
    """The type of the answer: a model, or a list of them. `answer` may give mappings or objects that fit."""
    query: type[Query] = Nothing
    body: type[Query] | None = None
    status: int = 200
    refuses: tuple[int, ...] = ()
    """Statuses of its own refusals, beside those that every route has."""
    media: tuple[str, ...] = ("application/json",)
    """Of the answer; other than JSON where `answer` gives a response."""
    told_in_path: Mapping[str, str] = field(default_factory=dict)
    """What the names in the path are."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(IN_PATH.findall(self.path))

    def pattern(self) -> re.Pattern[str]:
        """What matches the paths of this route."""
        pieces = IN_PATH.split(self.path)
        parts = (f"(?P<{piece}>[^/]+)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
        return re.compile("".join(parts))
