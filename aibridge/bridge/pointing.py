"""Ids of answers: the client knows the first round's, the upstream goes on from the last round's.

A pair is kept as long as upstreams keep answers, and is no recall: without it, an answer could not be gone
on from at all. An id that leads on is only a pointer, as the upstream's own is: whoever knows it may use it.
Results of hidden calls that wait with it are given to the caller alone whose calls they were.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from aibridge.bridge.answers import Whose
from aibridge.bridge.lately import Lately
from aibridge.bridge.ports import AnswerStore
from aibridge.dialects.base import Pointer, Request


class Pointing:
    """Leads requests to where earlier answers are upstream, and keeps where later ones have to go."""

    def __init__(self, store: AnswerStore | None = None) -> None:
        """`store` is shared by all workers; without one, pointers last as long as the process."""
        self._kept = Lately(store, "ids of answers")

    async def lead(self, request: Request, whose: Whose) -> Request:
        """The request with its references led upstream."""
        ids = request.refers_to
        if not ids:
            return request
        owner = _owner(whose)
        found = {id_: _read(stored, owner) for id_, stored in (await self._kept.get(ids)).items()}
        return request.redirected(found) if found else request

    async def target(self, id_: str) -> str:
        """Where `id_` leads upstream; itself where it leads nowhere else."""
        found = await self._kept.get([id_])
        return _read(found[id_], "").target if found else id_

    async def keep(self, pointers: Mapping[str, Pointer], whose: Whose) -> None:
        """Keep `pointers`; every worker knows them when this returns."""
        owner = _owner(whose)
        stored = {id_: _write(pointer, owner) for id_, pointer in pointers.items()}
        await self._kept.put(stored, caller=whose.caller, user=whose.user)


def _owner(whose: Whose) -> str:
    """A digest of the caller and of the credentials that were handed on."""
    return hashlib.sha256(f"{whose.caller}\n{whose.scope}".encode()).hexdigest()


def _write(pointer: Pointer, owner: str) -> bytes:
    outputs = {"owner": owner, "outputs": pointer.outputs} if pointer.outputs else {}
    return json.dumps({"target": pointer.target, **outputs}, separators=(",", ":")).encode()


def _read(stored: bytes, owner: str) -> Pointer:
    value = json.loads(stored)
    pointer = Pointer(value["target"], tuple(value.get("outputs", ())))
    return pointer if value.get("owner") == owner else replace(pointer, outputs=())
