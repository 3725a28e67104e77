"""The wire shapes of `/v1/chat/completions`, as OpenAI sends them: completions, chunks, usage, errors.

Pure. What the model says is decided in `replying`; ids, times and fingerprints differ from round to round.
"""

import json
from collections.abc import Iterator
from typing import Any

from aibridge.demo.judging import Objection
from aibridge.demo.replying import Json, Reply

_EPOCH = 1_700_000_000
_ARGUMENT_PIECES = 3
_ERRORS = {
    400: ("invalid_request_error", "invalid_request", "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-scri*****."),
    403: ("invalid_request_error", "forbidden", "You may not use this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached, try again in 1 s."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", "overloaded", "The engine is currently overloaded."),
}


def completion(body: Json, reply: Reply) -> Json:
    """The whole answer, not streamed."""
    message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None, "annotations": []}
    if reply.reasoning:
        message["reasoning_content"] = "".join(reply.reasoning)
    if reply.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.calls
        ]
    choice = {"message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    choices = [{"index": index, **choice} for index in range(_choices(body))]
    return {**_envelope(body, reply, "chat.completion"), "choices": choices, "usage": usage(body, reply)}


def chunks(body: Json, reply: Reply) -> Iterator[Json]:
    """The answer in chunks; the usage comes last, and only where it was asked for."""
    envelope = _envelope(body, reply, "chat.completion.chunk")
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    no_usage: Json = {"usage": None} if asked else {}
    for index in range(_choices(body)):
        for delta, finish_reason in _deltas(reply):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            yield {**envelope, "choices": [choice], **no_usage}
    if asked:
        yield {**envelope, "choices": [], "usage": usage(body, reply)}


def _deltas(reply: Reply) -> Iterator[tuple[Json, str | None]]:
    yield {"role": "assistant", "content": "" if reply.pieces else None, "refusal": None}, None
    for thought in reply.reasoning:
        yield {"reasoning_content": thought}, None
    for piece in reply.pieces:
        yield {"content": piece}, None
    for at, call in enumerate(reply.calls):
        opening: Json = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": at, "id": call.id, "type": "function", "function": opening}]}, None
        size = -(-len(call.arguments) // _ARGUMENT_PIECES)
        for begin in range(0, len(call.arguments), size):
            more: Json = {"arguments": call.arguments[begin : begin + size]}
            yield {"tool_calls": [{"index": at, "function": more}]}, None
    yield {}, reply.finish_reason


def usage(body: Json, reply: Reply) -> Json:
    """Tokens, estimated as characters through four."""
    asked = _tokens(json.dumps([body["messages"], body.get("tools")]))
    reasoned = _tokens("".join(reply.reasoning))
    said = _tokens(reply.text + "".join(call.name + call.arguments for call in reply.calls)) + reasoned
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoned, "audio_tokens": 0},
    }


def refusal(objection: Objection) -> Json:
    """The error body of a request that is not valid."""
    return _error(objection.message, "invalid_request_error", objection.param, objection.code)


def failure(status: int) -> Json:
    """The error body of a failure with this status."""
    kind, code, message = _ERRORS.get(status, _ERRORS[400 if status < 500 else 500])
    return _error(f"{message} (scripted {status})", kind, None, code)


def models() -> Json:
    """What `GET /v1/models` lists."""
    names = ("scripted-1", "scripted-mini")
    data = [{"id": name, "object": "model", "created": _EPOCH, "owned_by": "aibridge"} for name in names]
    return {"object": "list", "data": data}


def _error(message: str, kind: str, param: str | None, code: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _envelope(body: Json, reply: Reply, kind: str) -> Json:
    """What all chunks share; it differs from round to round, as a real model's does."""
    return {
        "id": f"chatcmpl-{reply.digest[:24]}",
        "object": kind,
        "created": _EPOCH + len(body["messages"]),
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": f"fp_round_{reply.round}",
    }


def _choices(body: Json) -> int:
    wanted: Any = body.get("n")
    return wanted if isinstance(wanted, int) and wanted > 0 else 1


def _tokens(text: str) -> int:
    return -(-len(text) // 4)
