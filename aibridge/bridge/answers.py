"""The keys of the answers in a conversation, by which hidden turns are kept and found.

A key is made of who asked (caller, session, end user), of the last visible messages before the answer, and of
the answer itself: what clients send back unchanged. Call ids alone are no key, some providers repeat them in
every turn (2-wire.md, "Mixed turns and recall").
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct, structs

from aibridge.dialects.base import Request, Visible
from aibridge.nouns import Caller
from aibridge.wire.json_text import encoded

WINDOW = 6
"""Visible messages before an answer that are part of its key."""
CALLERS_REMEMBERED = 1024
"""Those that asked last: the same ones ask again and again."""
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


class Answers(Struct, frozen=True):
    """The answers in a part of a conversation."""

    places: Sequence[int]
    """Of all messages of the part."""
    said: Sequence[bytes]
    """What each of them said, up to the last answer."""
    keys: Mapping[int, bytes]
    """Of the answers, by their places."""

    @classmethod
    def among(
        cls, visible: Sequence[tuple[int, Visible]], owner: bytes, window: Sequence[bytes]
    ) -> "Answers":
        """Those among the `visible` messages, before which was said what the `window` tells."""
        answers = [number for number, (_, message) in enumerate(visible) if message.role in ANSWERERS]
        counted = visible[: answers[-1] + 1] if answers else ()
        said = [*window, *(said_by(message) for _, message in counted)]
        first = len(window)
        keys = {
            visible[number][0]: key_of(
                owner, said[max(0, first + number - WINDOW) : first + number], said[first + number]
            )
            for number in answers
        }
        return cls([at for at, _ in visible], said[first:], keys)


def key_of(owner: bytes, window: Sequence[bytes], answer: bytes) -> bytes:
    """The key of an answer, by what was said before and in it."""
    return hashlib.sha256(b"".join((owner, *window, answer))).digest()


def said_by(message: Visible) -> bytes:
    """A digest of what a message says."""
    return _digest([message.role, message.text, message.calls])


def _digest(value: Any) -> bytes:
    return hashlib.sha256(encoded(value)).digest()


@lru_cache(CALLERS_REMEMBERED)
def _owner(whose: Whose) -> bytes:
    return _digest(structs.asdict(whose))
