"""A model server that has chat completions alone, and says what a test wants."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.serving import serving

Json = dict[str, Any]
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    """A chunk with one delta."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m-1"}
    return {**head, "choices": [choice]}


def saying(*texts: str) -> list[Json]:
    """A turn of text."""
    first = chunk({"role": "assistant", "content": ""})
    return [first, *(chunk({"content": text}) for text in texts), chunk({}, "stop")]


def calling(*calls: tuple[str, str, str], text: str = "") -> list[Json]:
    """A turn that calls tools: id, name, arguments, these in two pieces."""
    said = [chunk({"content": text})] if text else []
    for index, (call_id, name, arguments) in enumerate(calls):
        half = len(arguments) // 2
        function = {"name": name, "arguments": arguments[:half]}
        piece = {"index": index, "id": call_id, "type": "function", "function": function}
        rest = {"index": index, "function": {"arguments": arguments[half:]}}
        said += [chunk({"tool_calls": [piece]}), chunk({"tool_calls": [rest]})]
    return [chunk({"role": "assistant", "content": None}), *said, chunk({}, "tool_calls")]


def stream(chunks: Sequence[Json], *, done: bool = True, usage: bool = True) -> bytes:
    """The chunks as they travel."""
    ends = [{"id": "chatcmpl-1", "choices": [], "usage": USAGE}] if usage else []
    events = [f"data: {json.dumps(each)}\n\n" for each in (*chunks, *ends)]
    return ("".join(events) + ("data: [DONE]\n\n" if done else "")).encode()


def folded(chunks: Sequence[Json]) -> Json:
    """The same turn as one body."""
    message: Json = {"role": "assistant", "content": None}
    calls: list[Json] = []
    for each in chunks:
        delta = each["choices"][0]["delta"]
        for piece in delta.get("tool_calls", []):
            if piece["index"] == len(calls):
                calls.append({key: value for key, value in piece.items() if key != "index"})
            else:
                calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
        for key in ("content", "reasoning_content", "refusal"):
            if delta.get(key):
                message[key] = (message.get(key) or "") + delta[key]
    if calls:
        message["tool_calls"] = calls
    finish = chunks[-1]["choices"][0]["finish_reason"]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m-1", "usage": USAGE}
    return {**head, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


Script = Callable[[Json], Sequence[Json] | Response]
"""What is said to a request: a turn's chunks, or a response of its own."""


@dataclass(slots=True)
class Chatting:
    """What the server was asked, and what it says next."""

    script: Script = field(default=lambda body: saying("Hel", "lo"))
    asked: list[Json] = field(default_factory=list)
    port: int = 0

    async def __call__(self, request: Request) -> Response:
        """The endpoint."""
        body = json.loads(await request.body())
        self.asked.append(body)
        said = self.script(body)
        if isinstance(said, Response):
            return said
        if not body.get("stream"):
            return JSONResponse(folded(said))
        return StreamingResponse(iter([stream(said)]), media_type="text/event-stream")


@contextmanager
def chatting(script: Script | None = None) -> Iterator[Chatting]:
    """The server until the block ends."""
    model = Chatting()
    model.script = script or model.script
    app = Starlette(routes=[Route("/v1/chat/completions", model.__call__, methods=["POST"])])
    with serving(app) as served:
        model.port = served.port
        yield model
