"""A crowd of clients that asks for everything a bridge can do, and for everything that can go wrong.

What each client saw is kept, so that it can be held against the records: whatever was asked, an answer that
was seen whole is recorded as completed, a failure as failed, and every question exactly once.
"""

import http.client
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.end_to_end.conversations import COLOUR
from tests.support.raw import JSON_TYPE, STREAM, STREAM_HEAD, Talk, answer_plainly, piece

PATIENCE = 60
"""Seconds that a client waits; the upstreams never take as long."""
ADD = 'call demo__add {"a": 1, "b": 2}'
MCP = "/mcp"
Json = dict[str, Any]
End = Literal["whole", "failed", "left"]


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to ask for. `rounds` and `calls`: what it takes where the answer comes whole."""

    name: str
    often: int
    script: str
    model: str = "m-1"
    path: str = "/v1/chat/completions"
    rounds: int = 1
    calls: int = 0
    streamed: bool | None = None
    """None: now and then."""
    leaves: bool = False
    """The client goes away in the middle of the answer."""
    tools: tuple[Json, ...] = ()
    ends: tuple[End, ...] = ("whole",)
    """How it may end for the client."""
    begins: bool = True
    """It becomes an exchange; what is refused before has no record."""

    def body(self, tag: str, dice: random.Random) -> Json:
        """The request."""
        streamed = dice.random() < 0.5 if self.streamed is None else self.streamed
        if self.path == MCP:
            return _mcp_call(tag)
        text = f"{tag}\n{self.script}"
        body: Json = {"model": self.model, "stream": streamed}
        if self.path.endswith("responses"):
            return body | {"input": text}
        tools = {"tools": list(self.tools)} if self.tools else {}
        return body | tools | {"messages": [{"role": "user", "content": text}]}


WISHES = (
    Wish("plain", 20, "hello"),
    Wish("stream", 20, "count 40", streamed=True),
    Wish("hidden", 20, ADD, rounds=2, calls=1),
    Wish("two hidden", 6, f"{ADD} and {ADD} then {ADD}", rounds=3, calls=3),
    Wish("mixed", 6, f'{ADD} and call colour {{"shade": "dark"}}', calls=1, tools=(COLOUR,)),
    Wish("response", 10, ADD, path="/v1/responses", rounds=2, calls=1),
    Wish("broken call", 4, "call demo__add {no json", rounds=2, calls=1),
    Wish("call over MCP", 4, "", path=MCP, calls=1),
    Wish("refused", 4, "fail 400", ends=("failed",)),
    Wish("error in the stream", 4, "error mid-stream", streamed=True, ends=("failed",)),
    Wish("cut by the upstream", 4, "count 20 and break", ends=("failed",)),
    Wish("leaves", 8, "count 300 and slow 10", streamed=True, leaves=True, ends=("left",)),
    Wish("leaves a hidden round", 4, f"slow 10 and count 300 and {ADD}", leaves=True, ends=("left",)),
    Wish("rough upstream", 12, "hello", model="rough", ends=("whole", "failed")),
    Wish("no upstream", 4, "hello", model="down", ends=("failed",)),
    Wish("unknown model", 2, "hello", model="nobody-has-it", ends=("failed",), begins=False),
    Wish("passed through", 4, "hello", path="/v1/embeddings", ends=("failed",)),
)


def _mcp_call(tag: str) -> Json:
    """A call as an MCP client makes it, with a tag that the records show."""
    params = {"name": "demo__add", "arguments": {"a": 1, "b": 2}}
    return {"jsonrpc": "2.0", "id": tag, "method": "tools/call", "params": params}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of one question."""

    tag: str
    wish: Wish
    end: End
    status: int | None
    exchange: str | None
    """Its id; None where the client left before it was told."""


def rough(talk: Talk, dice: random.Random) -> None:
    """An upstream that resets, hangs up or talks nonsense at any point, and sometimes answers."""
    breaks: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: talk.send(b"HTTP/1.1 200 OK\r\ncontent-ty"),
        lambda: talk.send(STREAM_HEAD),
        lambda: talk.send(STREAM_HEAD, piece(STREAM[: len(STREAM) // 2])),
        lambda: talk.send(STREAM_HEAD, piece(STREAM[:40])[:-10]),
        lambda: talk.send(b"220 mail.example.com ESMTP\r\n"),
        lambda: talk.send(STREAM_HEAD, piece(b"")),
    )
    if dice.random() < 0.4:
        answer_plainly(talk)
    else:
        dice.choice(breaks)()
    if dice.random() < 0.5:
        reset(talk.client)
    talk.hang_up()


def reset(client: socket.socket) -> None:
    """Let the end of this connection be a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class Crowd:
    """Clients at a time, and all that they saw."""

    port: int
    clients: int
    seen: list[Seen] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """What no client may see."""
    _asked: int = 0

    def ask_for(self, seconds: float, meanwhile: Callable[[], None], every: float) -> None:
        """All clients ask without pause until the time is over; `meanwhile` is called now and then."""
        end, pause = time.monotonic() + seconds, threading.Event()
        self._asked += 1
        names = [f"{self._asked}.{at}" for at in range(self.clients)]
        threads = [threading.Thread(target=self._keep_asking, args=(name, end)) for name in names]
        for thread in threads:
            thread.start()
        try:
            while (left := end - time.monotonic()) > every:
                pause.wait(every)
                meanwhile()
            pause.wait(left)
        finally:
            for thread in threads:
                thread.join()

    def _keep_asking(self, name: str, end: float) -> None:
        dice, at = random.Random(name), 0
        connection: http.client.HTTPConnection | None = None
        while time.monotonic() < end:
            at += 1
            [wish] = dice.choices(WISHES, [each.often for each in WISHES])
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                seen, kept = _ask(connection, wish, f"<{name}.{at}>", dice)
                self.seen.append(seen)
            except (OSError, http.client.HTTPException) as error:
                self.troubles.append(f"{wish.name} <{name}.{at}>: {error!r}")
                kept = False
            if not kept:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


def _ask(
    connection: http.client.HTTPConnection, wish: Wish, tag: str, dice: random.Random
) -> tuple[Seen, bool]:
    """One question; with what was seen whether the connection can be used again."""
    headers = {**dict([JSON_TYPE]), "accept": "application/json, text/event-stream"}
    connection.request("POST", wish.path, json.dumps(wish.body(tag, dice)), headers)
    if wish.leaves and dice.random() < 0.3:
        return _leave(connection, wish, tag, dice, None)
    response = connection.getresponse()
    exchange = response.getheader("x-aibridge-exchange-id")
    if wish.leaves and response.status == 200:
        response.read(dice.randrange(1, 2000))
        return _leave(connection, wish, tag, dice, exchange)
    try:
        body = response.read()
    except (http.client.IncompleteRead, ConnectionError):
        return Seen(tag, wish, "failed", response.status, exchange), False
    ended = _is_whole(body) if response.status == 200 else False
    seen = Seen(tag, wish, "whole" if ended else "failed", response.status, exchange)
    return seen, not response.will_close


def _leave(
    connection: http.client.HTTPConnection,
    wish: Wish,
    tag: str,
    dice: random.Random,
    exchange: str | None,
) -> tuple[Seen, bool]:
    if dice.random() < 0.5 and connection.sock is not None:
        reset(connection.sock)
    return Seen(tag, wish, "left", None, exchange), False


def _is_whole(body: bytes) -> bool:
    """Whether an answer of either API has its end, and no error in it."""
    if not body.lstrip().startswith((b"data:", b"event:", b":")):
        return "error" not in json.loads(body) or json.loads(body)["error"] is None
    ends = (b"data: [DONE]", b"response.completed", b'"jsonrpc"')
    return any(end in body for end in ends) and b'"error":{' not in body and b'"error": {' not in body
