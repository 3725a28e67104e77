"""What the engine needs of other rooms; `app.py` fills these, so that no room knows another."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from aibridge.dialects.base import Shown
from aibridge.facts import AttemptHeard
from aibridge.nouns import Call, Offer, Quirks, Result, SendBack, Tool
from aibridge.tracing import Trace

T = TypeVar("T")
HeaderPairs = Sequence[tuple[bytes, bytes]]
Tracing = Callable[[HeaderPairs, str], Trace | None]
"""The place in a trace of an exchange, by the client's headers and its id; None where none is traced."""
CallFinished = Callable[[Call, Result], None]


class Answer(Protocol):
    """An upstream's answer whose first status is known and below 400."""

    status: int
    headers: HeaderPairs

    @property
    def notes(self) -> Sequence[str]:
        """What the record shall say of how it was asked."""
        ...

    @property
    def media_type(self) -> str:
        """The content type without parameters, lower case."""
        ...

    @property
    def ended(self) -> bool:
        """True where it is known that no further piece comes; it may end without that being known."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body as it arrives; empty at the end.

        Raises BridgeError (`upstream_unreachable`, `upstream_timeout`) when it breaks, before the first
        piece also UpstreamRefused: until then the upstream may be asked again, and `headers`, the same
        list, may change.
        """
        ...

    async def pour(self, take: Callable[[bytes], T | None]) -> T | None:
        """Give each piece after the first to `take` as it arrives, maybe outside of any task.

        Ends with what `take` gave, at the first that is not None; None at the body's end. Raises what `take`
        does, and BridgeError when the body breaks.
        """
        ...


class Upstream(Protocol):
    """One upstream model server."""

    name: str
    send_back: SendBack

    @property
    def apis(self) -> Collection[str]:
        """The dialects that it speaks."""
        ...

    @property
    def quirks(self) -> Quirks:
        """What it refused so far of what aibridge adds."""
        ...

    def learn(self, quirks: Quirks) -> None:
        """It refused `quirks`, and answered without: they are left out from now on."""
        ...

    async def keep(self, shown: Callable[[], Shown | None]) -> None:
        """Keep the whole answer to be read again, where the upstream itself does not."""
        ...

    def resolve(self, model: str) -> str:
        """The upstream's own name for `model`, where that is an alias."""
        ...

    def ask(
        self, target: str, headers: HeaderPairs, body: bytes, model: str, heard: AttemptHeard
    ) -> AbstractAsyncContextManager[Answer]:
        """POST `body` to `target`, again where that may help; leaving it lets go of the connection.

        `model` is its own name of the one that is asked; `heard` is told of each attempt.
        Raises UpstreamRefused on a status of 400 and above, BridgeError when there is no answer.
        """
        ...


class Opener(Protocol):
    """An upstream for requests that are passed through."""

    name: str

    def resolve(self, model: str) -> str:
        """The upstream's own name for `model`, where that is an alias."""
        ...

    def open(
        self,
        method: str,
        target: str,
        headers: HeaderPairs,
        body: bytes | AsyncIterator[bytes],
        model: str,
        heard: AttemptHeard,
    ) -> AbstractAsyncContextManager[Answer]:
        """Send a request below the base URL; the answer has any status, and its body as it travels.

        A body of bytes is sent again where that may help; `heard` is told of each attempt.
        Raises BridgeError when there is no answer.
        """
        ...


class Router(Protocol):
    """All upstreams."""

    def route(self, model: str, name: str | None, api: str) -> Upstream:
        """The upstream `name`, else the first that serves `model` in the dialect `api`.

        Raises BridgeError (`model_not_found`).
        """
        ...

    def fallbacks(self, name: str, model: str, api: str, headers: HeaderPairs) -> Sequence[Upstream]:
        """The upstreams to ask next where `name` does not answer a request for `model` with `headers`.

        They never get a credential of the caller's.
        """
        ...


class RecallStore(Protocol):
    """Where hidden turns rest between requests, bounded in size and time."""

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is kept under `keys`; a key with several contents that cannot be told apart is absent."""
        ...

    async def put(
        self, key: bytes, content: bytes, *, newest_wins: bool, caller: str, user: str | None
    ) -> None:
        """Keep `content` of a caller and end user; it is there for every worker when this returns.

        Where `key` has another content: the newer one where `newest_wins`, else neither.
        """
        ...


class AnswerStore(Protocol):
    """Where ids of answers rest that lead elsewhere upstream, and answers that no upstream keeps.

    For as long as upstreams keep theirs.
    """

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """What is kept under `keys`."""
        ...

    async def put(self, contents: Mapping[str, bytes], *, caller: str, user: str | None) -> None:
        """Keep `contents` of a caller and end user by key, in place of what was there.

        Every worker has them when this returns.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Keep nothing under `keys` any more."""
        ...


class Toolbox(Protocol):
    """The tools of all configured MCP servers."""

    async def offer(self, wanted: str | None, headers: HeaderPairs = ()) -> Offer:
        """The tools for one exchange, whose client sent `headers`.

        `wanted`: comma list of servers, tools or patterns that narrows the choice; None for all. Raises
        BridgeError (`tools_unavailable`) where a server is away that must not be left out.
        """
        ...

    async def run(
        self, calls: Sequence[Call], tools: Sequence[Tool], finished: CallFinished, headers: HeaderPairs = ()
    ) -> list[Result]:
        """Run `calls` at the same time; results in call order, exactly one each, never an exception.

        `tools` and `headers` are the exchange's. `finished` hears of each call as it ends, also when
        cancelled.
        """
        ...
