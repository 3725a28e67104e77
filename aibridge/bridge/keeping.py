"""Answers that aibridge keeps because their upstream does not: to go on from, to refer to, to read again.

An answer rests under its id with the items that its request brought and the id of the one before it; the
ids of its items lead to it. Whose they are is part of the key: nobody else finds them.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from aibridge.bridge.ports import AnswerStore
from aibridge.errors import BridgeError, Kind

log = structlog.get_logger(__name__)
Json = Mapping[str, Any]
LARGEST = 32 << 20
"""Bytes that the process remembers of them."""
LONGEST_CHAIN = 1000
"""Answers that one may go on from, one before the other."""


class Keeping:
    """Finds and keeps answers of one caller or another."""

    def __init__(self, store: AnswerStore | None = None) -> None:
        """`store` is shared by all workers; without one they last as long as the process."""
        self._store = store
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def before(self, previous: Any, caller: str) -> list[Json]:
        """The items of all answers up to `previous`, each with its request's, oldest first.

        Raises BridgeError where one of them is not there.
        """
        turns: list[list[Json]] = []
        while previous is not None and len(turns) < LONGEST_CHAIN:
            found = (await self._get([str(previous)], caller)).get(str(previous))
            if found is None:
                sentence = f"Previous response with id '{previous}' not found."
                raise BridgeError(Kind.BAD_REQUEST, sentence, "previous_response_id")
            turns.append([*found["input"], *found["output"]])
            previous = found["previous"]
        return [item for turn in reversed(turns) for item in turn]

    async def resolved(self, items: Any, caller: str) -> Any:
        """The items with what `item_reference`s refer to; raises BridgeError where that is not there."""
        if not isinstance(items, list):
            return items
        ids = [item.get("id") for item in items if _refers(item)]
        found = await self._items([str(id_) for id_ in ids], caller) if ids else {}
        for id_ in ids:
            if str(id_) not in found:
                raise BridgeError(Kind.NOT_FOUND, f"Item with id '{id_}' not found.", "input")
        return [found[str(item["id"])] if _refers(item) else item for item in items]

    async def keep(self, answer: Json, own: Sequence[Json], caller: str) -> None:
        """Keep an answer, and the items that its request brought."""
        contents: dict[str, Any] = {item["id"]: {"answer": answer["id"]} for item in answer["output"]}
        whole = {
            "input": list(own),
            "output": answer["output"],
            "previous": answer.get("previous_response_id"),
        }
        contents[answer["id"]] = whole
        await self._put(contents, caller)

    async def _items(self, ids: Sequence[str], caller: str) -> dict[str, Any]:
        """Items by their ids: each rests in its answer."""
        leads = {lead["answer"] for lead in (await self._get(ids, caller)).values() if "answer" in lead}
        answers = await self._get(sorted(leads), caller) if leads else {}
        items = [item for answer in answers.values() for item in answer["output"]]
        return {item["id"]: item for item in items if item["id"] in ids}

    async def _get(self, ids: Sequence[str], caller: str) -> dict[str, Any]:
        keys = {_key(id_, caller): id_ for id_ in ids}
        found = {key: self._known[key] for key in keys if key in self._known}
        missing = [key for key in keys if key not in found]
        if missing and self._store is not None:
            try:
                found |= await self._store.get(missing)
            except Exception as error:  # the client is told that it is not there
                log.error("kept answers could not be read", error=type(error).__name__)
        return {keys[key]: json.loads(content) for key, content in found.items()}

    async def _put(self, contents: Mapping[str, Any], caller: str) -> None:
        stored = {_key(id_, caller): _dumps(content) for id_, content in contents.items()}
        for key, content in stored.items():
            self._drop(key)
            self._known[key] = content
            self._size += len(content)
        while self._size > LARGEST:
            self._drop(next(iter(self._known)))
        if self._store is not None:
            try:
                await self._store.put(stored)
            except Exception as error:  # the client waits for its answer
                log.error("answers are kept in this process only", error=type(error).__name__)

    def _drop(self, key: str) -> None:
        self._size -= len(self._known.pop(key, b""))


def _refers(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "item_reference"


def _key(id_: str, caller: str) -> str:
    return hashlib.sha256(f"{caller}\n{id_}".encode()).hexdigest()


def _dumps(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
