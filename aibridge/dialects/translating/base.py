"""The questions that every translation between two dialects answers.

A translator makes a request of one dialect into one of another, and gives what turns the answer back. It is
pure; asking the upstream, keeping answers and whose they are is left to `bridge.translating`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aibridge.nouns import SendBack

KEPT = "resp_aib"
"""How ids of answers begin that aibridge keeps itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the words of the upstream's dialect."""

    body: Mapping[str, Any]
    left_out: tuple[str, ...] = ()
    """Names of what the upstream cannot have and may be missing without changing what was asked."""
    keeps: bool = False
    """The client wants the answer kept, to go on from it or to refer to its items."""
    optional: frozenset[str] = frozenset()
    """Names of fields whose absence changes no answer: left out where the upstream refuses them by name."""
    own_input: tuple[Mapping[str, Any], ...] = ()
    """The items that this request brought, for an answer that is kept."""


class Translation(Protocol):
    """One answer on its way back."""

    @property
    def ended(self) -> bool:
        """True once nothing of the answer is to come."""
        ...

    @property
    def kept(self) -> Mapping[str, Any]:
        """The answer as it is kept, once it has ended; nothing where it failed."""
        ...

    def take(self, chunk: bytes) -> bytes:
        """The client's bytes for bytes of the upstream. Raises InvalidAnswer."""
        ...

    def finish(self) -> bytes:
        """What is left for the client at the end of the body. Raises InvalidAnswer where it is not whole."""
        ...


class Translator(Protocol):
    """From the dialect `source` to an upstream that speaks `target`, and back."""

    source: str
    target: str
    path: str
    """The route of `target` below the upstream's base URL."""

    def request(
        self, value: Mapping[str, Any], before: list[Mapping[str, Any]], send_back: SendBack
    ) -> Asked:
        """The request translated; `before` are the items of kept answers that it goes on from.

        Raises BridgeError (400) that names what cannot be translated.
        """
        ...

    def answer(self, value: Mapping[str, Any], asked: Asked) -> Translation:
        """What turns the answer to the request `value` back."""
        ...

    def error_body(self, status: int, body: bytes, upstream: str) -> bytes:
        """The body of an upstream's error answer."""
        ...
