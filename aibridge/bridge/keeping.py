"""Answers that aibridge keeps because their upstream does not: to go on from, to refer to, to read again.

An answer rests under its id with the items that its request brought and the id of the one before it; the
ids of its items lead to it. Whose they are is part of the key: nobody else finds them. What a client reads
again is kept beside that, as it saw it: an answer with hidden rounds is made of several kept ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aibridge.bridge.lately import Lately
from aibridge.bridge.ports import AnswerStore
from aibridge.dialects.base import Shown
from aibridge.errors import BridgeError, Kind

Json = Mapping[str, Any]
LONGEST_CHAIN = 1000
"""Answers that one may go on from, one before the other."""


class Owner(NamedTuple):
    """Whose an answer is: only its caller finds it; the end user is noted, so that they can be forgotten."""

    caller: str
    user: str | None = None


class Keeping:
    """Finds and keeps answers of one caller or another."""

    def __init__(self, store: AnswerStore | None = None) -> None:
        """`store` is shared by all workers; without one they last as long as the process."""
        self._kept = Lately(store, "answers")
        self._shown = Lately(store, "answers", fresh=0.0)  # what another process deleted is gone at once

    async def before(self, previous: Any, owner: Owner) -> list[Json]:
        """The items of all answers up to `previous`, each with its request's, oldest first.

        Raises BridgeError where one of them is not there.
        """
        turns: list[list[Json]] = []
        while previous is not None and len(turns) < LONGEST_CHAIN:
            found = (await self._get([str(previous)], owner)).get(str(previous))
            if found is None:
                sentence = f"Previous response with id '{previous}' not found."
                raise BridgeError(Kind.BAD_REQUEST, sentence, "previous_response_id")
            turns.append([*found["input"], *found["output"]])
            previous = found["previous"]
        return [item for turn in reversed(turns) for item in turn]

    async def resolved(self, items: Any, owner: Owner) -> Any:
        """The items with what `item_reference`s refer to; raises BridgeError where that is not there."""
        if not isinstance(items, list):
            return items
        ids = [item.get("id") for item in items if _refers(item)]
        found = await self._items([str(id_) for id_ in ids], owner) if ids else {}
        for id_ in ids:
            if str(id_) not in found:
                raise BridgeError(Kind.NOT_FOUND, f"Item with id '{id_}' not found.", "input")
        return [found[str(item["id"])] if _refers(item) else item for item in items]

    async def keep(self, answer: Json, own: Sequence[Json], owner: Owner) -> None:
        """Keep an answer, and the items that its request brought."""
        contents: dict[str, Any] = {item["id"]: {"answer": answer["id"]} for item in answer["output"]}
        whole = {
            "input": list(own),
            "output": answer["output"],
            "previous": answer.get("previous_response_id"),
        }
        contents[answer["id"]] = whole
        stored = {_key(id_, owner): _dumps(content) for id_, content in contents.items()}
        await self._kept.put(stored, caller=owner.caller, user=owner.user)

    async def keep_shown(self, shown: Shown, rounds: Sequence[str], owner: Owner) -> None:
        """Keep an answer as its client has it; `rounds`: the kept answers that it was made of."""
        answer = json.loads(shown.answer)
        content = {"answer": answer, "brought": json.loads(shown.brought), "rounds": list(rounds)}
        stored = {_shown_key(answer["id"], owner): _dumps(content)}
        await self._shown.put(stored, caller=owner.caller, user=owner.user)

    async def shown(self, id_: str, owner: Owner) -> Json | None:
        """The `answer` that its client has under this id, and what its request `brought`."""
        found = await self._shown.get([_shown_key(id_, owner)])
        return next((json.loads(content) for content in found.values()), None)

    async def delete(self, id_: str, owner: Owner) -> bool:
        """Delete an answer with all that it was made of; False where there is none.

        Raises BridgeError (503).
        """
        shown = await self.shown(id_, owner)
        if shown is None:
            return False
        rounds = await self._get(shown["rounds"], owner)
        items = (item["id"] for each in rounds.values() for item in each["output"])
        await self._kept.delete(_key(each, owner) for each in (*rounds, *items))
        await self._shown.delete([_shown_key(id_, owner)])
        return True

    async def _items(self, ids: Sequence[str], owner: Owner) -> dict[str, Any]:
        """Items by their ids: each rests in its answer."""
        leads = {lead["answer"] for lead in (await self._get(ids, owner)).values() if "answer" in lead}
        answers = await self._get(sorted(leads), owner) if leads else {}
        items = [item for answer in answers.values() for item in answer["output"]]
        return {item["id"]: item for item in items if item["id"] in ids}

    async def _get(self, ids: Sequence[str], owner: Owner) -> dict[str, Any]:
        keys = {_key(id_, owner): id_ for id_ in ids}
        found = await self._kept.get(keys)
        return {keys[key]: json.loads(content) for key, content in found.items()}


def _refers(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "item_reference"


def _key(id_: str, owner: Owner) -> str:
    return hashlib.sha256(f"{owner.caller}\n{id_}".encode()).hexdigest()


def _shown_key(id_: str, owner: Owner) -> str:
    return _key(f"shown {id_}", owner)


def _dumps(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
