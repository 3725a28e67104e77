"""Both ends of a connection without a library's help: requests that no client sends, and an upstream that
keeps every byte it got and answers with any bytes, pauses and breaks.
"""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 60
PATH = "/v1/chat/completions"
JSON_TYPE = ("content-type", "application/json")
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Got:
    """A whole response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, None where it is missing."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object, checked for its shape."""
        [(key, error)] = self.json.items()
        assert key == "error" and set(error) == {"message", "type", "param", "code"}, self.body
        assert self.header("content-type") == "application/json"
        assert "\n" not in error["message"] and "Traceback" not in error["message"]
        return dict(error)


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    """A connection to a port of this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        yield client


def read_response(client: socket.socket, method: str = "POST") -> Got:
    """The next response on a connection; http.client.IncompleteRead where it is cut."""
    with http.client.HTTPResponse(client, method=method) as response:
        response.begin()
        return Got(response.status, response.getheaders(), response.read())


def request(
    port: int,
    body: bytes = b"",
    headers: Pairs = (JSON_TYPE,),
    *,
    method: str = "POST",
    path: str = PATH,
    host: str | None = "",
    length: bool = True,
) -> bytes:
    """A request as bytes; `host` is the address where it is empty and left out where it is None."""
    lines = [f"{method} {path} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host or f'127.0.0.1:{port}'}")
    lines += [f"{name}: {value}" for name, value in headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def send(
    port: int,
    body: bytes = b"",
    headers: Pairs = (JSON_TYPE,),
    *,
    method: str = "POST",
    path: str = PATH,
    host: str | None = "",
) -> Got:
    """One request on a connection of its own, and its response."""
    with connection(port) as client:
        client.sendall(request(port, body, headers, method=method, path=path, host=host))
        return read_response(client, method)


def ask(port: int, headers: Pairs = (), **body: Any) -> Got:
    """A question to the bridge: `body` over a short default."""
    asked = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}], **body}
    return send(port, json.dumps(asked).encode(), [JSON_TYPE, *headers])


@contextmanager
def asking(port: int, **body: Any) -> Iterator[socket.socket]:
    """A client that has asked, and not read yet; it leaves at the end of the block."""
    asked = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}], **body}
    with connection(port) as client:
        client.sendall(request(port, json.dumps(asked).encode(), [JSON_TYPE]))
        yield client


@dataclass(frozen=True, slots=True)
class Heard:
    """A request as an upstream got it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class Talk:
    """One request to the upstream, and the connection to answer on."""

    heard: Heard
    client: socket.socket
    number: int
    """Counts the requests of all connections, from 0."""

    def send(self, *pieces: bytes) -> None:
        """Write bytes as they are."""
        for piece in pieces:
            self.client.sendall(piece)

    def hang_up(self) -> None:
        """Close the connection."""
        self.client.shutdown(socket.SHUT_RDWR)

    def await_leaving(self) -> None:
        """Wait until the client has closed the connection; TimeoutError if it does not."""
        with suppress(ConnectionResetError):
            while self.client.recv(1 << 16):
                pass


Answer = Callable[[Talk], None]


@dataclass(slots=True)
class RawUpstream:
    """An HTTP server of threads; `answer` says what each request gets, and can be changed."""

    port: int
    answer: Answer
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """What an entry of `upstreams` names."""
        return f"http://127.0.0.1:{self.port}/v1"

    def anew(self, answer: Answer) -> "RawUpstream":
        """The same for another test: it has heard nothing yet."""
        self.heard.clear()
        self.answer = answer
        return self

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the listener is shut down."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.settimeout(PATIENCE)
            self.connections += 1
            self._open.append(client)
            threading.Thread(target=self._talk, args=(client, self.connections), daemon=True).start()

    def _talk(self, client: socket.socket, connection: int) -> None:
        with suppress(OSError), client, client.makefile("rb") as stream:
            while heard := _hear(stream, connection):
                self.heard.append(heard)
                self.answer(Talk(heard, client, len(self.heard) - 1))

    def close(self) -> None:
        """End all connections."""
        for client in self._open:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def _hear(stream: Any, connection: int) -> Heard | None:
    line = stream.readline()
    if not line:
        return None
    headers: list[tuple[str, str]] = []
    while (field_line := stream.readline().strip().decode("latin-1")) != "":
        name, _, value = field_line.partition(":")
        headers.append((name, value.strip()))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Heard(line.decode().strip(), headers, stream.read(length), connection)


@contextmanager
def raw_upstream(answer: Answer) -> Iterator[RawUpstream]:
    """An upstream on a free port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = RawUpstream(listener.getsockname()[1], answer)
        thread = threading.Thread(target=upstream.serve, args=(listener,), name="upstream")
        thread.start()
        try:
            yield upstream
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            upstream.close()


def whole(body: bytes, status: str = "200 OK", headers: Pairs = (JSON_TYPE,)) -> bytes:
    """A response with a length."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body


def piece(data: bytes) -> bytes:
    """A piece of a chunked body; the last one where it is empty."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(**fields: Any) -> bytes:
    """A chunk of a chat completion as an event."""
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", **fields}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def said(text: str | None, finish: str | None = None, **delta: Any) -> bytes:
    """A chunk with a piece of text."""
    given = delta if text is None else {"content": text, **delta}
    return event(choices=[{"index": 0, "delta": given, "finish_reason": finish}])


def calling(name: str, arguments: str = "{}", more: bytes = b"") -> bytes:
    """A turn that calls a tool, with `more` events before its end."""
    call = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    return said(None, role="assistant", tool_calls=[call]) + said(None, "tool_calls") + more + DONE


DONE = b"data: [DONE]\n\n"
USAGE: Mapping[str, int] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
STREAM = (
    said("Hel", role="assistant") + said("lo") + said(None, "stop") + event(choices=[], usage=USAGE) + DONE
)
COMPLETION: bytes = json.dumps(
    {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
).encode()


def answer_plainly(talk: Talk) -> None:
    """Hello, streamed or not."""
    if talk.heard.json.get("stream"):
        talk.send(STREAM_HEAD, piece(STREAM), piece(b""))
    else:
        talk.send(whole(COMPLETION))
