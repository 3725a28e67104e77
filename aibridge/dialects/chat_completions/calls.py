"""Tool calls put together from the pieces that providers send (2-wire.md, "Reading calls …").

A piece belongs to the call with its index, or to the last one where providers leave the index out; among
these to the one with its id. A new X
"""

import hashlib
import string
from collections.abc import Sequence
from typing import Any

from aibridge.dialects.folding import fold
from aibridge.dialects.naming import Names
from aibridge.nouns import Call
from aibridge.wire.json_text import dumps, loads

ALPHANUMERICS = string.digits + string.ascii_letters


class Draft:
    """A call as far as it came."""

    def __init__(self, index: Any, position: int) -> None:
        self.index, self.position = index, position
        self.id = ""
        self.id_made = False
        self.name = ""
        self._arguments: list[str] = []
        self.custom = False
        self.injected: bool | None = None
        self.shown_index: int | None = None
        self._fields: dict[str, Any] = {}

    def add(self, piece: dict[str, Any]) -> None:
        """Take one piece."""
        fields = {key: value for key, value in piece.items() if key not in ("index", "id", "function")}
        self.id = self.id or piece.get("id") or ""
        self.custom = self.custom or piece.get("type") == "custom" or "custom" in piece
        function = piece.get("function")
        if isinstance(function, dict):
            self._add_name(function.get("name"))
            if piece_of_arguments := _arguments(function.get("arguments")):
                self._arguments.append(piece_of_arguments)
            rest = {key: value for key, value in function.items() if key not in ("name", "arguments")}
            fields["function"] = rest
        custom = piece.get("custom")
        if isinstance(custom, dict):
            self._add_name(custom.get("name"))
            self._arguments.append(_arguments(custom.get("input")))
        fold(self._fields, fields)

    def _add_name(self, name: Any) -> None:
        # Some providers repeat the whole name in every delta; an exact repeat is no second piece.
        if isinstance(name, str) and name != self.name:
            self.name += name

    @property
    def arguments(self) -> str:
        """The arguments' text as far as it came."""
        self._arguments = ["".join(self._arguments)]
        return self._arguments[0]

    @property
    def arguments_whole(self) -> bool:
        """True where the arguments are a JSON object, or none are needed."""
        try:
            return isinstance(loads(self.arguments), dict)
        except ValueError:
            return not self.arguments.strip()

    def decide(self, names: Names, *, whole: bool) -> None:
        """Settle whose call it is, if that can be said by now."""
        if self.injected is None:
            whole = whole or bool(self.arguments)
            self.injected = False if self.custom else names.is_injected(self.name, whole=whole)

    def call(self) -> Call:
        """The call as the engine runs and records it."""
        return Call(self.id, self.name, self.arguments, bool(self.injected))

    def message(self) -> dict[str, Any]:
        """The call as it goes back upstream: whole, without its index."""
        if self.custom:
            return {"id": self.id, **self._fields}
        function = {"name": self.name, "arguments": self.arguments, **self._fields.get("function", {})}
        rest = {key: value for key, value in self._fields.items() if key not in ("type", "function")}
        return {"id": self.id, "type": self._fields.get("type") or "function", "function": function, **rest}


class CallReader:
    """The calls of one turn."""

    def __init__(self, names: Names) -> None:
        self.drafts: list[Draft] = []
        self.seed = ""
        """What made ids are made of: the same for the same turn, another for any other."""
        self._names = names

    def take(self, pieces: Sequence[dict[str, Any]]) -> list[tuple[Draft, dict[str, Any]]]:
        """The pieces with the calls that they belong to; decides what can be decided."""
        taken: list[tuple[Draft, dict[str, Any]]] = []
        for piece in pieces:
            draft = self._draft_of(piece)
            draft.add(piece)
            draft.decide(self._names, whole=False)
            taken.append((draft, piece))
        return taken

    def settle(self) -> None:
        """The turn is over: decide every call, and give each an id."""
        for draft in self.drafts:
            draft.decide(self._names, whole=True)
            self._name_it(draft)

    def _draft_of(self, piece: dict[str, Any]) -> Draft:
        index = piece.get("index")
        same = [d for d in self.drafts if d.index == index] if index is not None else self.drafts
        known = [draft for draft in same if draft.id == piece.get("id")] or same
        if known and not self._begins_another(known[-1], piece):
            return known[-1]
        return self._begin(piece)

    def _begins_another(self, draft: Draft, piece: dict[str, Any]) -> bool:
        """True where `piece` cannot belong to `draft` although its index says so, or it has none."""
        given = piece.get("id")
        if given and draft.id and given != draft.id:
            return not draft.id_made
        function = piece.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if given or not isinstance(function, dict) or not isinstance(name, str) or not name:
            return False
        if name != draft.name and self._names.offers(draft.name) and self._names.offers(name):
            return True
        return bool(draft.arguments.strip() and function.get("arguments")) and draft.arguments_whole

    def _begin(self, piece: dict[str, Any]) -> Draft:
        if self.drafts:
            self.drafts[-1].decide(self._names, whole=True)
        draft = Draft(piece.get("index"), len(self.drafts))
        self.drafts.append(draft)
        if not piece.get("id"):
            # Made now, not at the end: the client's first piece has to carry it.
            self._name_it(draft)
        return draft

    def _name_it(self, draft: Draft) -> None:
        """Nine alphanumerics, the only form that Mistral takes; the same for the same turn."""
        if draft.id:
            return
        digest = int.from_bytes(hashlib.sha256(f"{self.seed}:{draft.position}".encode()).digest())
        letters = []
        for _ in range(9):
            digest, at = divmod(digest, len(ALPHANUMERICS))
            letters.append(ALPHANUMERICS[at])
        draft.id, draft.id_made = "".join(letters), True


def _arguments(value: Any) -> str:
    """Arguments as text: null and absent are none; Ollama's older form sends the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value)
