"""The questions that every dialect answers; the engine knows these and nothing else of a wire format.

A `Request` is what the client asked, kept as text, and grows by rounds. A `View` is what the client sees
of the whole exchange; it opens a `Round` for each upstream answer: bytes in, bytes for the client out,
a `Turn` at the end. Streaming or not is the dialect's own matter: a JSON answer is a stream of one event.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from msgspec import Struct

from aibridge.errors import BridgeError, ErrorShape, UpstreamRefused
from aibridge.nouns import Call, Result, SendBack, Tool, Usage

UsageShown = Literal["sum", "last"]
CallsShown = Literal["hidden", "shown"]


class Manner(Struct, frozen=True):
    """How several rounds are told to the client as one answer."""

    separator: str = "\n\n"
    """Stands between texts of two turns."""
    usage: UsageShown = "sum"
    calls: CallsShown = "hidden"
    """Injected calls: shown where the dialect has a form for calls that the server runs."""


class InvalidAnswer(Exception):
    """The upstream's answer is none in this dialect; the message says why in half a sentence."""


class Asked(Struct, frozen=True):
    """What a request says about itself, for routing and records."""

    model: str
    streamed: bool
    prompt: str | None = None
    """The last text of the last message, where that is the user's."""
    user: str | None = None
    session_id: str | None = None
    answers_call_id: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Turn:
    """What the model said in one round."""

    calls: list[Call] = field(default_factory=list)
    finish_reason: str | None = None
    response_id: str | None = None
    model: str | None = None
    usage: Usage = field(default_factory=lambda: Usage(source="missing"))
    thought: str | None = None
    message: Callable[[], Any] = dict
    """The turn in the dialect's own shape, whole, as it goes back upstream; made when it is wanted, and
    understood by the same dialect's `Request` alone."""
    text: Callable[[], str] = str
    """The visible text; made when it is wanted."""
    pieces: int = 0
    """How many deltas came: about the tokens of a round that was cut short."""
    error: str | None = None
    """The upstream's own error event, which ends the exchange; its message."""

    @property
    def injected_calls(self) -> list[Call]:
        """The calls that aibridge has to run."""
        return [call for call in self.calls if call.injected]

    @property
    def client_calls(self) -> list[Call]:
        """The calls that the client was given."""
        return [call for call in self.calls if not call.injected]


@dataclass(frozen=True, slots=True)
class Visible:
    """A message as its client sees it, by what clients send back unchanged (facts of real clients)."""

    role: str
    text: str
    calls: tuple[tuple[str, str], ...] = ()
    """Ids and names of its calls; of a tool's result the id of the call that it answers."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What was hidden in an exchange, in the dialect's own JSON, to be put back in later requests."""

    hidden: tuple[str, ...]
    """The messages (or items) of the hidden turns with their results, in order, as they were sent."""
    texts: tuple[str, ...]
    """The visible texts of these turns: the client has them joined with the answer's."""
    separator: str
    tools: tuple[str, ...]
    """Names of the injected tools that were called."""
    last: str | None = None
    """The last turn's message (or the list of its items) where it had both kinds of calls."""
    results: tuple[tuple[str, str], ...] = ()
    """The injected calls' results of that message: call id and message."""

    @property
    def size(self) -> int:
        """Characters that it puts back."""
        return sum(map(len, self.hidden)) + sum(len(text) for _, text in self.results)

    @property
    def turns(self) -> int:
        """How many hidden turns it puts back."""
        return len(self.texts) + (self.last is not None)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where an id that a client was given leads upstream, which keeps what was said there."""

    target: str
    """The upstream's own id."""
    outputs: tuple[str, ...] = ()
    """Results of hidden calls that it waits for there, in the dialect's JSON; the next request has them."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as its client has it, for clients that read it again by its id."""

    answer: str
    """The whole answer, as JSON."""
    brought: str
    """What its request brought, as a JSON array."""


class Round(Protocol):
    """One upstream answer on its way to the client."""

    @property
    def ended(self) -> bool:
        """True once nothing of the answer is to come, whatever the connection does."""
        ...

    @property
    def text_seen(self) -> bool:
        """True once visible text came."""
        ...

    def take(self, chunk: bytes) -> bytes:
        """Reads bytes of the answer; gives the bytes that the client gets for them, often the same."""
        ...

    def finish(self) -> tuple[Turn, bytes]:
        """The turn, and what was left for the client. Raises InvalidAnswer when the answer is not whole."""
        ...

    def abandon(self) -> Turn:
        """The turn as far as it came, for the record."""
        ...


class View(Protocol):
    """What the client sees of an exchange, over all rounds."""

    def open_round(self, *, last: str | None = None) -> Round:
        """The next upstream answer.

        `last`: nothing comes after it; an injected call in it is dropped, and the client is told this
        sentence where there is no text at all.
        """
        ...

    def results(self, turn: Turn, results: Sequence[Result]) -> bytes:
        """What the client gets when the injected calls of `turn` are done: often nothing."""
        ...

    def keep_alive(self) -> bytes:
        """A whole event that says that more is to come; empty where it would come in between."""
        ...

    def failure(self, error: BridgeError | UpstreamRefused) -> bytes:
        """The event that ends the stream in an error."""
        ...

    def shown(self) -> Shown | None:
        """The answer before its end leaves; None where the dialect has no way to read it again."""
        ...

    def close(self) -> bytes:
        """The end of the client's answer: a held finish, usage where asked for, the closing mark."""
        ...


class Request(Protocol):
    """What is asked upstream: the client's own request, grown by tools and hidden turns."""

    asked: Asked

    @property
    def body(self) -> bytes:
        """The body for the upstream; the client's own bytes where nothing had to change."""
        ...

    @property
    def tool_names(self) -> frozenset[str]:
        """Names of the client's own tools."""
        ...

    @property
    def tool_count(self) -> int:
        """How many tools the client brings."""
        ...

    @property
    def refuses_tools(self) -> str | None:
        """Why nothing can be injected into this request, in a word; None when it can."""
        ...

    def for_model(self, model: str) -> Self:
        """The request with the upstream's own name of the model; the same where nothing changes."""
        ...

    def with_tools(self, tools: Sequence[Tool]) -> Self:
        """The request of round 1: `tools` after the client's own, usage asked for."""
        ...

    def without_usage(self) -> Self:
        """The request without the question for usage that we added; the same where there is none."""
        ...

    def sent_back(self) -> frozenset[str]:
        """Names of the fields beyond the standard that turns of this exchange brought back."""
        ...

    def extended(self, turn: Turn, results: Sequence[Result], send_back: SendBack) -> Self:
        """The request of the next round: the hidden turn and its results appended.

        `send_back`: which of the turn's unknown fields the upstream takes.
        """
        ...

    def without_tools(self, tools: Sequence[Tool]) -> Self:
        """The request of a last round, in which the model shall answer instead of calling `tools`."""
        ...

    @property
    def history(self) -> bytes:
        """The client's messages as it sent them, a JSON array; empty where none is an answer for recall."""
        ...

    def visible(self, start: int = 0) -> list[tuple[int, Visible]]:
        """Those that count (no system messages), with their places; from `start` on, one of these."""
        ...

    def with_units(self, units: Mapping[int, Unit], *, standard: frozenset[int]) -> tuple[Self, int]:
        """What was hidden before, put back at the places of the answers; and how many turns that were.

        `standard`: places where only fields of the standard go back, since another model said them.
        """
        ...

    def unit(
        self, last: Turn, results: Sequence[Result], separator: str, send_back: SendBack
    ) -> tuple[Unit, Sequence[Visible]] | None:
        """What this exchange hid, and its answer in each way in which the client may send it back.

        None where it hid nothing, or where the client will not send it back.
        """
        ...

    @property
    def refers_to(self) -> Sequence[str]:
        """Ids of earlier answers that the upstream shall go on from; they may lead elsewhere there."""
        ...

    def redirected(self, pointers: Mapping[str, Pointer]) -> Self:
        """The request with these ids led to where they lead upstream."""
        ...

    def pointers(self, shown_id: str | None, last: Turn, results: Sequence[Result]) -> Mapping[str, Pointer]:
        """What later requests may refer to and have to be redirected from; `shown_id`: the answer's."""
        ...

    def view(self, tools: Sequence[Tool], manner: Manner) -> View:
        """What the client sees of the injected `tools` and of all rounds."""
        ...


class Dialect(ErrorShape, Protocol):
    """A wire format."""

    name: str
    path: str
    """The route below `/v1`, here and at the upstream."""

    def read(self, body: bytes) -> Request:
        """The request in `body`. Raises BridgeError (400) that says what is wrong."""
        ...
