"""What the engine gives for the client: the head of a response once, then pieces of its body, or their flow.

Facts (tools that ran, tokens, the ending) are no events: they are told to the exchange's listener.
"""

from dataclasses import dataclass

from msgspec import Struct

from aibridge.bridge.flowing import Flow
from aibridge.bridge.ports import HeaderPairs
from aibridge.dialects.base import View


@dataclass(slots=True)
class Begin:
    """Status and headers are known. Whoever sends them may wait for the first piece, and sets `sent`."""

    status: int
    headers: HeaderPairs
    upstream: str
    """The one that answers."""
    view: View | None = None
    """Of a bridged exchange: what is sent in a silence, and how a stream fails."""
    sent: bool = False
    verbatim: bool = False
    """The body travels as the upstream encoded and framed it, so headers that say how go on too."""


class Relay(Struct, frozen=True):
    """Whole events, or a whole body, for the client. Empty: send the head now, silence follows."""

    data: bytes
    last: bool = False


class Cut(Exception):
    """The answer broke off where no event of ours can say so: the client's connection is cut too."""


Event = Begin | Relay | Flow
