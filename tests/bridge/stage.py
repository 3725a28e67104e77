"""The real bridge and real in-process MCP servers before a scripted upstream: what is asked and given."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from aibridge import config as configuration
from aibridge import tools, upstreams
from aibridge.bridge.bridge import Bridge
from aibridge.bridge.limits import Limits
from aibridge.bridge.memory import Remembering
from aibridge.bridge.ports import RecallStore
from aibridge.bridge.recall import Recall
from aibridge.demo.judging import objection_to
from aibridge.dialects import DIALECTS
from aibridge.facts import CallEnded, ExchangeEnded, Fact, RoundEnded
from aibridge.web.bridge_routes import BridgeRoute
from tests.support.doors import door_without_keys
from tests.tools.boxes import opened, until

Json = dict[str, Any]
F = TypeVar("F")
SSE, JSON = "text/event-stream", "application/json"
UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the upstream."""

    pieces: Sequence[bytes]
    media: str = SSE
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """The connection breaks after the pieces."""
    hangs: bool = False
    """Nothing comes after the pieces, and no end."""


class Upstream(httpx2.AsyncBaseTransport):
    """Gives the replies in order; keeps what it was asked and counts what was not let go."""

    def __init__(self, replies: Sequence[Reply] = ()) -> None:
        self._replies = list(replies)
        self.asked: list[bytes] = []
        self.open = 0
        self.silent = asyncio.Event()
        """Set once a reply hangs."""

    def will_say(self, *replies: Reply) -> None:
        """Replies for the next requests."""
        self._replies += replies

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The next reply."""
        self.asked.append(await request.aread())
        assert self._replies, "the upstream was asked once more than the script says"
        reply = self._replies.pop(0)
        self.open += 1
        headers = {"content-type": reply.media, **reply.headers}
        return httpx2.Response(reply.status, headers=headers, stream=_Pieces(reply, self))


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, reply: Reply, upstream: Upstream) -> None:
        self._reply, self._upstream = reply, upstream
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._reply.pieces:
            yield piece
        if self._reply.cut:
            raise httpx2.ReadError("cut")
        if self._reply.hangs:
            self._upstream.silent.set()
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self._upstream.open -= not self._closed
        self._closed = True


@dataclass(slots=True)
class Seen:
    """What the client of one exchange saw, what the upstream was asked, and the facts."""

    asked: list[bytes]
    facts: list[Fact]
    messages: list[Json] = field(default_factory=list)
    """Of ASGI, as they were sent."""

    @property
    def status(self) -> int:
        """The response's status; 0 where the client left before."""
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers."""
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        """The response's body as far as it came."""
        return b"".join(each.get("body", b"") for each in self.messages[1:])

    @property
    def json(self) -> Any:
        """The body of an answer that is not streamed."""
        return json.loads(self.body)

    @property
    def whole(self) -> bool:
        """True where the response has an end."""
        return bool(self.messages) and not self.messages[-1].get("more_body", True)

    @property
    def requests(self) -> list[Json]:
        """What the upstream was asked, read."""
        return [json.loads(body) for body in self.asked]

    def told(self, kind: type[F]) -> list[F]:
        """The facts of one kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def ending(self) -> ExchangeEnded:
        """The one ending."""
        [ended] = self.told(ExchangeEnded)
        return ended

    @property
    def rounds(self) -> list[RoundEnded]:
        """The rounds that were told."""
        return self.told(RoundEnded)

    @property
    def calls(self) -> list[CallEnded]:
        """The calls that were told."""
        return self.told(CallEnded)

    @property
    def chunks(self) -> list[Json]:
        """The chunks of a stream, the closing mark aside."""
        data = [event.removeprefix(b"data: ") for event in events_of(self.body)]
        return [json.loads(each) for each in data if each.strip() != b"[DONE]"]


def events_of(stream: bytes) -> list[bytes]:
    """The events of a stream, comments aside, without the blank lines between them."""
    events = stream.replace(b"\r\n", b"\n").split(b"\n\n")
    return [event for event in events if event.strip() and not event.startswith(b":")]


Store = RecallStore | Remembering


def _remembering(store: Store | None) -> Remembering | None:
    return Remembering(store) if store is not None and not isinstance(store, Remembering) else store


class Stage:
    """A bridge whose parts stay, and whose upstream is scripted anew for each exchange."""

    def __init__(
        self,
        toolbox: tools.Toolbox,
        store: Store | None = None,
        limits: Limits | None = None,
        recall_limit: int = 200_000,
    ) -> None:
        self._toolbox, self._limits = toolbox, limits or Limits()
        self._recall = Recall(_remembering(store), recall_limit)

    async def ask(
        self,
        body: Json | bytes,
        upstream: Upstream,
        *,
        headers: Mapping[str, str] | None = None,
        leaves_after: int | None = None,
        leaves_when: asyncio.Event | None = None,
        named: str = UPSTREAM,
    ) -> Seen:
        """One exchange; the client leaves after so many messages, or when told. Nothing is left running."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        before, asked_before = asyncio.all_tasks(), len(upstream.asked)
        client = _Client(raw, headers or {}, leaves_after, leaves_when or asyncio.Event())
        facts: list[Fact] = []
        route = self._route(upstream, named, facts.append)
        await route(client.scope, client.receive, client.send)
        await until(lambda: not _left_since(before), "the end of the exchange's tasks")
        assert upstream.open == 0, "a connection to the upstream was not let go"
        seen = Seen(upstream.asked[asked_before:], facts, client.sent)
        _assert_one_ending(seen)
        return seen

    def beside(self, store: Store | None, recall_limit: int = 200_000) -> "Stage":
        """Another bridge with the same tools and another memory."""
        return Stage(self._toolbox, store, self._limits, recall_limit)

    def _route(self, upstream: Upstream, name: str, hear: Callable[[Fact], None]) -> BridgeRoute:
        entry = configuration.Upstream(base_url="http://upstream/v1", retries=0)
        router = upstreams.from_config({name: entry}, upstream)
        bridge = Bridge(router, self._toolbox, hear, recall=self._recall, limits=self._limits)
        return BridgeRoute(
            DIALECTS[0],
            bridge=lambda: bridge,
            door=door_without_keys(b"secret"),
            max_body=32 << 20,
            heartbeat=60,
        )


class _Client:
    """The ASGI server's side of one request."""

    def __init__(
        self, body: bytes, headers: Mapping[str, str], leaves_after: int | None, leaves: asyncio.Event
    ) -> None:
        self.sent: list[Json] = []
        self._waiting = [{"type": "http.request", "body": body, "more_body": False}]
        self._leaves_after, self._leaves = leaves_after, leaves
        pairs = [(b"content-type", b"application/json")]
        pairs += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        path = "/v1/chat/completions"
        self.scope: Json = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": pairs,
        }

    async def receive(self) -> Json:
        if self._waiting:
            return self._waiting.pop()
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if self._leaves_after is not None and len(self.sent) > self._leaves_after:
            self._leaves.set()
            await asyncio.sleep(0)  # the watcher hears of it


def _left_since(before: set["asyncio.Task[Any]"]) -> list[str]:
    """Tasks that were started since and go on; the connections of tool servers may come and go."""
    names = [task.get_name() for task in asyncio.all_tasks() - before]
    return [name for name in names if not name.startswith("mcp")]


def _assert_one_ending(seen: Seen) -> None:
    if not seen.facts:  # refused before it began
        assert seen.status >= 400
        return
    assert seen.ending.status == "cancelled" or seen.whole, "the response has no end"
    assert [each["type"] for each in seen.messages].count("http.response.start") <= 1


@asynccontextmanager
async def staged(
    servers: Mapping[str, object],
    store: Store | None = None,
    limits: Limits | None = None,
    recall_limit: int = 200_000,
) -> AsyncIterator[Stage]:
    """A stage with connected servers."""
    async with opened(in_process=servers) as toolbox:
        yield Stage(toolbox, store, limits, recall_limit)


def assert_valid(requests: Sequence[Json]) -> None:
    """Each request is one that OpenAI takes."""
    for request in requests:
        assert objection_to(request) is None, objection_to(request)
