"""Ids of answers: the client knows the first round's, the upstream goes on from the last round's.

A pair is kept as long as upstreams keep answers, and is no recall: without it, an answer could not be gone
on from at all. An id that leads on is only a pointer, as the upstream's own is: whoever knows it may use it.
Results of hidden calls that wait with it are given to the caller alone whose calls they were.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from aibridge.bridge.ports import PointerStore
from aibridge.bridge.recall import Whose
from aibridge.dialects.base import Pointer, Request

log = structlog.get_logger(__name__)
MOST_KNOWN = 20_000
"""Ids whose pointer, or whose having none, is remembered in the process."""
LARGEST_KNOWN = 64 << 10
"""Bytes of a pointer that is remembered; a longer one is read again."""


class Pointing:
    """Leads requests to where earlier answers are upstream, and keeps where later ones have to go."""

    def __init__(self, store: PointerStore | None = None) -> None:
        """`store` is shared by all workers; without one, pointers last as long as the process."""
        self._store = store
        # An id has its pointer before its client knows it: one that has none now never will.
        self._known: OrderedDict[str, bytes | None] = OrderedDict()

    async def lead(self, request: Request, whose: Whose) -> Request:
        """The request with its references led upstream."""
        ids = request.refers_to
        if not ids:
            return request
        owner = _owner(whose)
        found = {id_: _read(stored, owner) for id_, stored in (await self._get(ids)).items()}
        return request.redirected(found) if found else request

    async def target(self, id_: str) -> str:
        """Where `id_` leads upstream; itself where it leads nowhere else."""
        found = await self._get([id_])
        return _read(found[id_], "").target if found else id_

    async def keep(self, pointers: Mapping[str, Pointer], whose: Whose) -> None:
        """Keep `pointers`; every worker knows them when this returns."""
        owner = _owner(whose)
        stored = {id_: _write(pointer, owner) for id_, pointer in pointers.items()}
        for id_, content in stored.items():
            self._know(id_, content)
        if self._store is not None:
            try:
                await self._store.put(stored)
            except Exception as error:  # the client waits for its answer
                log.error("ids of answers are kept in this process only", error=type(error).__name__)

    async def _get(self, ids: Sequence[str]) -> dict[str, bytes]:
        open_ = [id_ for id_ in ids if id_ not in self._known]
        found = {id_: content for id_ in ids if (content := self._known.get(id_)) is not None}
        if open_ and self._store is not None:
            try:
                more = await self._store.get(open_)
            except Exception as error:  # the upstream may know the id as it is
                log.error("ids of answers could not be read", error=type(error).__name__)
                return found
            found.update(more)
            for id_ in open_:
                self._know(id_, more.get(id_))
        return found

    def _know(self, id_: str, content: bytes | None) -> None:
        self._known.pop(id_, None)
        if len(content or b"") <= LARGEST_KNOWN or self._store is None:
            self._known[id_] = content
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


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
