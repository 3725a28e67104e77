"""A stand-in for a model that speaks Anthropic's messages: it calls one tool, then says what came of it."""

import json
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]


def create_app(tool: str, arguments: Json) -> Starlette:
    """The application; it calls the offered tool whose name ends with `tool`. Asked bodies: `state.asked`."""

    async def messages(request: Request) -> Response:
        body = await request.json()
        app.state.asked.append(body)
        name = next((each["name"] for each in body.get("tools", ()) if each["name"].endswith(tool)), None)
        results = [text for block in _blocks(body["messages"]) for text in _result(block)]
        if results or name is None:
            block: Json = {"type": "text", "text": f"The tool said: {' '.join(results)}"}
        else:
            block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}
        reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
        if not body.get("stream"):
            return JSONResponse({**_message(body["model"]), "content": [block], "stop_reason": reason})
        return StreamingResponse(_events(body["model"], block, reason), media_type="text/event-stream")

    async def alive(_request: Request) -> Response:
        return Response()

    app = Starlette(routes=[Route("/v1/messages", messages, methods=["POST"]), Route("/", alive)])
    app.state.asked = []
    return app


def _blocks(messages: list[Json]) -> Iterator[Json]:
    for message in messages:
        content = message["content"]
        yield from ([] if isinstance(content, str) else content)


def _result(block: Json) -> Iterator[str]:
    if block.get("type") == "tool_result":
        content = block["content"]
        yield content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _message(model: str) -> Json:
    usage = {"input_tokens": 9, "output_tokens": 5}
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "usage": usage}


def _events(model: str, block: Json, reason: str) -> Iterator[bytes]:
    whole = {**_message(model), "content": [], "stop_reason": None, "stop_sequence": None}
    if block["type"] == "text":
        begun, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        begun = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    ended = {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 5}}
    events: tuple[tuple[str, Json], ...] = (
        ("message_start", {"message": whole}),
        ("content_block_start", {"index": 0, "content_block": begun}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", ended),
        ("message_stop", {}),
    )
    for name, fields in events:
        yield f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()
