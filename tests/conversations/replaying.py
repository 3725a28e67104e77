"""Replays one golden conversation: the real bridge and a real in-process MCP server, a scripted transport."""

import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml
from mcp import types
from mcp.server.lowlevel import Server
from msgspec import Struct

from aibridge import config as configuration
from aibridge import tools, upstreams
from aibridge.bridge.bridge import Bridge
from aibridge.bridge.limits import Limits
from aibridge.bridge.memory import Memory, Remembering
from aibridge.bridge.pointing import Pointing
from aibridge.bridge.recall import Recall
from aibridge.dialects import DIALECTS
from aibridge.dialects.base import Dialect
from aibridge.facts import ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.web.bridge_routes import BridgeRoute
from tests.support.doors import door_without_keys

Json = dict[str, Any]
SHOWN_HEADERS = ("content-type", "retry-after", "x-should-retry", "x-aibridge-tools", "x-request-id")
UNTOLD = {"exchange_id", "started_at", "ended_at", "failed_at", "duration_ms", "caller", "id"}
"""Fields of facts that differ from run to run, or from caller to caller."""
UNTOLD |= {"trace", "finish_reason", "result_chars"}  # of telemetry, or of the journal
BEGUN = ("upstream", "asked")
"""Fields that are told only where they are not as the exchange began."""


@dataclass(frozen=True, slots=True)
class Chop:
    """How the upstream's bytes arrive."""

    name: str
    seed: int | None = None

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """`data` in pieces."""
        if self.name == "whole":
            yield data
            return
        dice = random.Random(self.seed)
        while data:
            length = 1 if self.name == "bytes" else dice.randint(1, 60)
            yield data[:length]
            data = data[length:]


@dataclass(slots=True)
class Seen:
    """What came of one exchange."""

    client: bytes = b""
    asked: list[bytes] = field(default_factory=list)
    facts: list[Json] = field(default_factory=list)


class ScriptedTransport(httpx2.AsyncBaseTransport):
    """Answers with the files of a conversation, chopped."""

    def __init__(self, folder: Path, chop: Chop, seen: Seen) -> None:
        self._folder, self._chop, self._seen = folder, chop, seen
        self._round = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The next round's file."""
        self._round += 1
        self._seen.asked.append(await request.aread())
        stem = self._folder / f"round-{self._round}"
        file = next((p for p in (stem.with_suffix(".sse"), stem.with_suffix(".json")) if p.exists()), None)
        assert file is not None, f"the upstream was asked a round {self._round} that {self._folder} has not"
        head = _yaml(stem.with_suffix(".yaml"))
        media = "text/event-stream" if file.suffix == ".sse" else "application/json"
        headers = {"content-type": media, "x-request-id": f"req_{self._round}", **head.get("headers", {})}
        stream = _Pieces(self._chop(file.read_bytes()), cut=head.get("cut", False))
        return httpx2.Response(head.get("status", 200), headers=headers, stream=stream)


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Iterator[bytes], *, cut: bool) -> None:
        self._pieces, self._cut = pieces, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._cut:
            raise httpx2.ReadError("cut")


def exchanges(folder: Path) -> list[Path]:
    """The folders of the conversation's requests, in order."""
    numbered = sorted((each for each in folder.iterdir() if each.name.isdigit()), key=lambda p: int(p.name))
    return numbered or [folder]


@dataclass(slots=True)
class Keeping:
    """What outlives the exchanges of a conversation."""

    recall: Recall = field(default_factory=lambda: Recall(Remembering(Memory())))
    pointing: Pointing = field(default_factory=Pointing)


def _dialect_of(folder: Path) -> str:
    return "responses" if folder.name.startswith("responses-") else "chat_completions"


async def replay(folder: Path, chop: Chop) -> list[Seen]:
    """Play the conversation; what came of each of its exchanges."""
    found: list[Seen] = []
    keeping = Keeping()
    dialect = next(each for each in DIALECTS if each.name == _dialect_of(folder))
    upstream = configuration.Upstream(
        **{"base_url": "http://upstream/v1", "retries": 0, **_yaml(folder / "upstream.yaml")}
    )
    async with _toolbox(_yaml(folder / "tools.yaml")) as toolbox:
        for exchange in exchanges(folder):
            found.append(await _exchange(exchange, chop, upstream, toolbox, keeping, dialect))
    return found


async def _exchange(
    folder: Path,
    chop: Chop,
    upstream: configuration.Upstream,
    toolbox: tools.Toolbox,
    keeping: Keeping,
    dialect: Dialect,
) -> Seen:
    seen = Seen()
    limits = Limits(**_yaml(folder / "limits.yaml"))
    as_it_began: set[tuple[str, str]] = set()

    def hear(fact: Fact) -> None:
        told = {key: value for key, value in _fields(fact).items() if not _differs(key) and value != ()}
        if "failure" in told:
            told["failure"] = {key: each for key, each in told["failure"].items() if not _differs(key)}
        if isinstance(fact, RoundEnded | ExchangeEnded):
            told = {
                key: each for key, each in told.items() if not (key in BEGUN and (key, each) in as_it_began)
            }
        elif isinstance(fact, ExchangeStarted):
            as_it_began.update({("upstream", fact.upstream), ("asked", fact.model)})
        seen.facts.append({"fact": type(fact).__name__, **told})

    router = upstreams.from_config({"upstream": upstream}, ScriptedTransport(folder, chop, seen))
    bridge = Bridge(router, toolbox, hear, recall=keeping.recall, limits=limits, pointing=keeping.pointing)
    route = BridgeRoute(
        dialect, bridge=lambda: bridge, door=door_without_keys(b"secret"), max_body=32 << 20, heartbeat=60
    )
    seen.client = await _ask(route, (folder / "request.json").read_bytes(), _yaml(folder / "headers.yaml"))
    return seen


async def _ask(route: BridgeRoute, body: bytes, headers: Json) -> bytes:
    """The response to `body`, as the text that `client.out` holds."""
    sent: list[Json] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Json:
        if waiting:
            return waiting.pop()
        return await _never()

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(b"content-type", b"application/json")]
    pairs += [(key.lower().encode(), str(value).encode()) for key, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": f"/v1{route.dialect.path}", "headers": pairs}
    await route(scope, receive, send)
    assert [each["type"] for each in sent].count("http.response.start") == 1
    assert not sent[-1].get("more_body"), "the response has no end"
    start = sent[0]
    lines = [f"HTTP {start['status']}"]
    given = {name.decode(): value.decode() for name, value in start["headers"]}
    if given["x-request-id"] == given.get("x-aibridge-exchange-id"):
        del given["x-request-id"]  # made by aibridge, another in every run
    lines += [f"{name}: {given[name]}" for name in SHOWN_HEADERS if name in given]
    body_out = b"".join(each.get("body", b"") for each in sent[1:])
    return "\n".join(lines).encode() + b"\n\n" + body_out


async def _never() -> Json:
    import asyncio

    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def _toolbox(scripted: Json) -> AsyncIterator[tools.Toolbox]:
    """The MCP servers of `tools.yaml`: {server: {tool: {description, schema, result}}}."""
    servers = {name: _server(name, entries) for name, entries in scripted.items()}
    toolbox = tools.from_config({}, configuration.Bridge(), servers)
    toolbox.start()
    try:
        yield toolbox
    finally:
        await toolbox.aclose()


def _server(name: str, entries: Json) -> "Server[Any]":
    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        empty = {"type": "object", "properties": {}}
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool, description=each.get("description", ""), input_schema=each.get("schema", empty)
                )
                for tool, each in entries.items()
            ]
        )

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        result = entries[params.name].get("result", "")
        content = [{"type": "text", "text": result}] if isinstance(result, str) else result.get("content", [])
        rest = {} if isinstance(result, str) else {k: v for k, v in result.items() if k != "content"}
        return types.CallToolResult.model_validate({"content": content, **rest})

    return Server(name, on_list_tools=list_tools, on_call_tool=call_tool)


def _fields(noun: Struct) -> Json:
    values = ((name, getattr(noun, name)) for name in noun.__struct_fields__)
    return {name: _fields(value) if isinstance(value, Struct) else value for name, value in values}


def _differs(key: str) -> bool:
    return key in UNTOLD or key.endswith("_ms")


def _yaml(path: Path) -> Json:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def expected_files(seen: Seen) -> dict[str, bytes]:
    """The files that say what has to come of an exchange."""
    facts = _lines(json.dumps(fact, ensure_ascii=False, default=dict).encode() for fact in seen.facts)
    return {"client.out": seen.client, "asked.jsonl": _lines(seen.asked), "records.jsonl": facts}


def _lines(items: "Sequence[bytes] | Iterator[bytes]") -> bytes:
    return b"".join(item.rstrip(b"\n") + b"\n" for item in items)
