"""Hidden turns kept when an exchange ends, and put back when a later request brings its answer.

By which keys is said in `answers`, which of them need not be looked for in `beginnings`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aibridge.bridge.answers import WINDOW, Answers, Whose, key_of, said_by
from aibridge.bridge.memory import Remembering
from aibridge.dialects.base import Request, Unit, Visible
from aibridge.nouns import Tool
from aibridge.wire.json_text import encoded


@dataclass(frozen=True, slots=True)
class Kept:
    """A unit, and what said it: another model gets only the standard fields of it."""

    unit: Unit
    upstream: str
    model: str

    def dumps(self) -> bytes:
        """As it is stored."""
        return encoded(self)

    @classmethod
    def loads(cls, stored: bytes) -> "Kept":
        """From what is stored."""
        value: dict[str, Any] = json.loads(stored)
        fields = {key: _tuples(item) for key, item in value["unit"].items()}
        return cls(Unit(**fields), value["upstream"], value["model"])


class Recall:
    """Puts hidden turns back, and keeps new ones."""

    def __init__(self, store: Remembering | None, limit: int = 200_000) -> None:
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
        kept = await self._kept(self._store, request, whose)
        if not kept:
            return request, 0
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
        owner, kept = whose.digest, Kept(unit, upstream, request.asked.model).dumps()
        known = self._store.beginnings.begin(owner, request.history).beginning
        last = request.visible(known.place)[-WINDOW:]
        window = (*known.window, *(said_by(message) for _, message in last))[-WINDOW:]
        for answer in answers:
            key = key_of(owner, window, said_by(answer))
            await self._store.put(key, kept, newest_wins=whose.named, caller=whose.caller, user=whose.user)

    @staticmethod
    async def _kept(store: Remembering, request: Request, whose: Whose) -> dict[int, Kept]:
        """What is kept of the answers that `request` brings back, by their places."""
        text, owner = request.history, whose.digest
        if not text:
            return {}
        history = store.beginnings.begin(owner, text)
        before = history.beginning
        answers = Answers.among(request.visible(before.place), owner, before.window)
        keys = {**before.found, **answers.keys}
        if not keys:
            return {}
        found = await store.get(list(keys.values()))
        if len(found) == len(set(keys.values())):  # else of some it could not be found out
            hid = frozenset(key for key, content in found.items() if content is not None)
            store.beginnings.learn(history, answers, hid)
        contents = ((at, found.get(key)) for at, key in keys.items())
        return {at: Kept.loads(content) for at, content in contents if content is not None}

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


def _holds(unit: Unit, refused: frozenset[str]) -> bool:
    texts = (*unit.hidden, unit.last or "")
    return any(f'"{name}"' in text for name in refused for text in texts)


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
