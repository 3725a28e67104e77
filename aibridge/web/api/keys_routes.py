"""`/api/keys` and `/api/audit`: the same that `aibridge keys` does, for who may administrate.

What happens is `access`'s business; here it is only read and told. The database is asked in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Field

from aibridge.config import KeyTold, NewKey
from aibridge.config.units import Duration
from aibridge.errors import BridgeError, Kind
from aibridge.web.api.describing import ApiRoute, Asked, Query

T = TypeVar("T")
NAMED = {"key": "its id, its name, or how its id begins"}


class Keys(Protocol):
    """What these routes need of `access`. Methods block, and raise BridgeError for what they refuse."""

    def create(self, actor: str, wanted: NewKey) -> tuple[KeyTold, str]:
        """A new key and its text."""
        ...

    def list(self) -> Sequence[KeyTold]:
        """All keys."""
        ...

    def show(self, named: str) -> KeyTold:
        """One key."""
        ...

    def revoke(self, actor: str, named: str) -> KeyTold:
        """End a key."""
        ...

    def rotate(self, actor: str, named: str, grace: float = 0.0) -> tuple[KeyTold, str]:
        """A new text for a key."""
        ...

    def audit(self, limit: int = 100, before: str | None = None) -> Sequence[Mapping[str, Any]]:
        """The newest changes."""
        ...


class KeyWanted(NewKey, Query):
    """A key that is to be made."""


class Rotation(Query):
    """How a key gets a new text."""

    grace: Duration | None = Field(
        None, le=30 * 86400, description="how long the old text still works; absent: not at all"
    )


class KeyShown(KeyTold):
    """A key with its text, which is shown this once."""

    key: str


class AuditQuery(Query):
    """Which rows of the audit."""

    limit: int = Field(100, ge=1, le=1000, description="how many")
    before: str | None = Field(
        None, pattern=r"^[0-9a-f-]{1,36}$", description="the id of a row; those before it"
    )


class AuditRow(BaseModel):
    """One change: who did what, to which key or to what else."""

    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any] | None


class KeyRoutes:
    """The routes."""

    def __init__(
        self, keys: Callable[[], Keys], changed: Callable[[], Awaitable[None]], failing: type[Exception]
    ) -> None:
        """`changed` is awaited after a change, so that it counts at once in this process.

        `failing` is what the database raises while it is away.
        """
        self._keys, self._changed, self._failing = keys, changed, failing

    def routes(self) -> tuple[ApiRoute, ...]:
        """For the table of `/api`."""
        one, of_one = "/api/keys/{key}", partial(ApiRoute, told_in_path=NAMED, refuses=(404, 409))
        return (
            ApiRoute("GET", "/api/keys", "All keys, without what they spent.", self._list, list[KeyTold]),
            ApiRoute(
                "POST",
                "/api/keys",
                "A new key; its text is told this once.",
                self._create,
                KeyShown,
                body=KeyWanted,
                status=201,
                refuses=(409,),
            ),
            of_one("GET", one, "One key, with what it spent.", self._show, KeyTold),
            of_one("DELETE", one, "Revokes a key for good.", self._revoke, KeyTold),
            of_one(
                "POST",
                f"{one}/rotate",
                "A new text for a key; the old one ends.",
                self._rotate,
                KeyShown,
                body=Rotation,
            ),
            ApiRoute(
                "GET",
                "/api/audit",
                "What was changed, by whom; the newest first.",
                self._audit,
                list[AuditRow],
                query=AuditQuery,
                refuses=(404,),
            ),
        )

    async def _list(self, _asked: Asked) -> Any:
        return await self._ask(self._keys().list)

    async def _show(self, asked: Asked) -> Any:
        return await self._ask(self._keys().show, asked.path["key"])

    async def _create(self, asked: Asked) -> Any:
        return await self._with_text(self._keys().create, asked.actor, asked.body)

    async def _rotate(self, asked: Asked) -> Any:
        grace = asked.body.grace or 0.0
        return await self._with_text(self._keys().rotate, asked.actor, asked.path["key"], grace)

    async def _revoke(self, asked: Asked) -> Any:
        told = await self._ask(self._keys().revoke, asked.actor, asked.path["key"])
        await self._changed()
        return told

    async def _audit(self, asked: Asked) -> Any:
        return await self._ask(self._keys().audit, asked.query.limit, asked.query.before)

    async def _ask(self, work: Callable[..., T], *words: Any) -> T:
        """What `work` returns, in a thread. Raises BridgeError (503) while the database is away."""
        try:
            return await asyncio.to_thread(work, *words)
        except self._failing as error:
            sentence = f"the records' database cannot be asked: {error}"
            raise BridgeError(Kind.OVERLOADED, sentence, retry_after=1) from error

    async def _with_text(self, change: Callable[..., tuple[KeyTold, str]], *words: Any) -> KeyShown:
        told, text = await self._ask(change, *words)
        await self._changed()
        return KeyShown(**told.model_dump(), key=text)
