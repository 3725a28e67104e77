"""Hidden turns kept when an exchange ends, and put back when a later request brings its answer.

The key of an exchange is made of who asked (caller, session, end user), of the last visible messages
before its answer, and of the answer itself: what clients send back unchanged. Call ids alone are no key,
some providers repeat them in every turn (2-wire.md, "Mixed turns and recall").
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct, structs

from aibridge.bridge.ports import RecallStore
from aibridge.dialects.base import Request, Unit, Visible
from aibridge.nouns import Caller, Tool

WINDOW = 6
"""Visible messages before an answer that are part of its key."""
CALLERS_REMEMBERED = 1024
"""Those that asked last: the same ones ask again and again."""
_write = msgspec.json.encode
ANSWERERS = frozenset({"assistant"})


class Whose(Struct, frozen=True):
    """Whose hidden turns: they never reach another caller, nor another end user or session of one key."""

    caller: str
    user: str | None
    session: str | None
    dialect: str
    scope: str = ""
    """Of the credentials that were handed on to MCP servers: results differ by them."""

    @classmethod
    def of(cls, caller: Caller, request: Request, dialect: str, scope: str) -> "Whose":
        """Who asks in `request`."""
        session = caller.session_id or request.asked.session_id
        return cls(caller.id, request.asked.user, session, dialect, scope)

    @property
    def digest(self) -> bytes:
        """For keys."""
        return _owner(self)

    @property
    def named(self) -> bool:
        """True where the client says which conversation or end user it is."""
        return bool(self.user or self.session)


@dataclass(frozen=True, slots=True)
class Kept:
    """A unit, and what said it: another model gets only the standard fields of it."""

    unit: Unit
    upstream: str
    model: str

    def dumps(self) -> bytes:
        """As it is stored."""
        return _json(self)

    @classmethod
    def loads(cls, stored: bytes) -> "Kept":
        """From what is stored."""
        value: dict[str, Any] = json.loads(stored)
        fields = {key: _tuples(item) for key, item in value["unit"].items()}
        return cls(Unit(**fields), value["upstream"], value["model"])


class Recall:
    """Puts hidden turns back, and keeps new ones."""

    def __init__(self, store: RecallStore | None, limit: int = 200_000) -> None:
        self._store, self._limit = store, limit

    @property
    def keeps(self) -> bool:
        """False where recall is switched off."""
        return self._store is not None

    async def put_back(
        self,
        request: Request,
        whose: Whose,
        tools: Sequence[Tool],
        upstream: str,
        refused: frozenset[str] = frozenset(),
    ) -> tuple[Request, int]:
        """`request` with what was hidden in the exchanges that it brings back, and how many turns.

        Nothing is put back where no tool is injected, or a tool of the unit is not. Of fields that
        `upstream` once `refused` older units are full: then only those of the standard go back.
        """
        if self._store is None or not tools:
            return request, 0
        visible = request.visible()
        keys = _keys(visible, whose)
        found = await self._store.get(list(keys.values())) if keys else {}
        kept = {at: Kept.loads(found[key]) for at, key in keys.items() if key in found}
        names = {tool.name for tool in tools}
        units = self._within_limit({at: k for at, k in kept.items() if names.issuperset(k.unit.tools)})
        same = (upstream, request.asked.model)
        foreign = {at for at, k in units.items() if (k.upstream, k.model) != same or _holds(k.unit, refused)}
        return request.with_units({at: k.unit for at, k in units.items()}, standard=frozenset(foreign))

    async def keep(
        self, request: Request, whose: Whose, upstream: str, unit: Unit, answers: Sequence[Visible]
    ) -> None:
        """Keep what an exchange hid; `request` is its client's, `answers` as it may send its answer back."""
        if self._store is None:
            return
        window = [_said(message) for _, message in request.visible()[-WINDOW:]]
        owner, kept = whose.digest, Kept(unit, upstream, request.asked.model).dumps()
        for answer in answers:
            key = _key(owner, window, _said(answer))
            await self._store.put(key, kept, newest_wins=whose.named, caller=whose.caller, user=whose.user)

    def _within_limit(self, kept: Mapping[int, Kept]) -> dict[int, Kept]:
        """As many as fit, the newest first."""
        fitting: dict[int, Kept] = {}
        room = self._limit
        for at in sorted(kept, reverse=True):
            room -= kept[at].unit.size
            if room < 0:
                break
            fitting[at] = kept[at]
        return dict(sorted(fitting.items()))


def _keys(visible: Sequence[tuple[int, Visible]], whose: Whose) -> dict[int, bytes]:
    """The key of every answer among the messages, by its place; each message is read once."""
    owner = whose.digest
    said = [_said(message) for _, message in visible]
    return {
        at: _key(owner, said[max(0, number - WINDOW) : number], said[number])
        for number, (at, message) in enumerate(visible)
        if message.role in ANSWERERS
    }


def _key(owner: bytes, window: Sequence[bytes], answer: bytes) -> bytes:
    return hashlib.sha256(b"".join((owner, *window, answer))).digest()


def _holds(unit: Unit, refused: frozenset[str]) -> bool:
    texts = (*unit.hidden, unit.last or "")
    return any(f'"{name}"' in text for name in refused for text in texts)


def _said(message: Visible) -> bytes:
    return _digest([message.role, message.text, message.calls])


def _digest(value: Any) -> bytes:
    return hashlib.sha256(_json(value)).digest()


def _json(value: Any) -> bytes:
    try:
        return _write(value)
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(value, default=asdict).encode()


@lru_cache(CALLERS_REMEMBERED)
def _owner(whose: Whose) -> bytes:
    return _digest(structs.asdict(whose))


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
