"""What aibridge does not need to change arrives as it was sent, there and back (1-product.md, promise 1)."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import (
    COMPLETION,
    DONE,
    JSON_TYPE,
    STREAM,
    STREAM_HEAD,
    USAGE,
    Got,
    RawUpstream,
    Talk,
    event,
    piece,
    said,
    send,
    whole,
)

TOOLS = {"x-aibridge-tools": "on"}
UNKNOWN: dict[str, Any] = {
    f"unknown_{number}": value
    for number, value in enumerate(
        [None, True, 7, 1.5, "ü🌞", [], {}, [{"a": [None]}], {"b": {"c": 1}}, ""] * 4
    )
}
OWN_TOOLS = [
    {"type": "function", "function": {"name": "bash", "parameters": {"$defs": {"x": {}}}, "strict": True}},
    {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "syntax": "lark"}}},
    {"type": "web_search_2030", "new": {"deep": [1]}},
]
RICH = {
    **UNKNOWN,
    "model": "m-1",
    "messages": [
        {"role": "developer", "content": "Be kind.", "cache_control": {"type": "ephemeral"}},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is \u2028 this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
                },
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "hologram", "hologram": {"new": True}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "bash", "arguments": '{"a": 1 }'},
                    "extra_content": {"google": {"thought_signature": "c2ln"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "done"}]},
    ],
    "tools": OWN_TOOLS,
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
    "parallel_tool_calls": False,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "seed": 123456789012345678901234567890,
}


@pytest.fixture(scope="module")
def shared_tooled(
    shared_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridged]:
    folder = tmp_path_factory.mktemp("tooled")
    with bridged(
        folder, configuration(folder, shared_upstream.base_url), {"demo": create_server()}
    ) as bridge:
        yield bridge


@pytest.fixture
def tooled(upstream: RawUpstream, shared_tooled: Bridged) -> Bridged:
    """A bridge that injects the demo server's tools."""
    return shared_tooled


def _send(bridge: Bridged, body: bytes, tools: str = "on") -> Got:
    got = send(bridge.port, body, [JSON_TYPE, ("x-aibridge-tools", tools)])
    assert got.status == 200, got.body
    return got


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("streamed", [False, True])
def test_with_tools_everything_else_arrives_unchanged(
    tooled: Bridged, upstream: RawUpstream, streamed: bool
) -> None:
    asked = {**RICH, "stream": streamed}
    _send(tooled, json.dumps(asked, ensure_ascii=False, indent=1).encode())
    arrived = upstream.heard[0].json
    assert list(arrived) == list(asked), "the keys keep their order"
    tools = arrived.pop("tools")
    assert arrived == {key: value for key, value in asked.items() if key != "tools"}
    assert tools[: len(OWN_TOOLS)] == OWN_TOOLS
    added = [tool["function"]["name"] for tool in tools[len(OWN_TOOLS) :]]
    assert added == ["demo__add", "demo__fail", "demo__now", "demo__slow", "demo__weather"]


def test_with_tools_only_the_tools_are_other_bytes(tooled: Bridged, upstream: RawUpstream) -> None:
    body = json.dumps(RICH, ensure_ascii=False, indent=1).encode()
    _send(tooled, body)
    begun, _, ended = body.partition(b'"tools": ')
    assert upstream.heard[0].body.startswith(begun)
    assert upstream.heard[0].body.endswith(ended[ended.index(b'"tool_choice"') :])


@pytest.mark.parametrize(
    "body", [json.dumps(RICH).encode(), json.dumps(RICH, indent=7).encode() + b"\r\n \t"]
)
def test_without_tools_a_question_that_is_not_streamed_keeps_every_byte(
    tooled: Bridged, upstream: RawUpstream, body: bytes
) -> None:
    _send(tooled, body, "off")
    assert _digest(upstream.heard[0].body) == _digest(body)


@pytest.mark.parametrize("pretty", [None, 2])
def test_without_tools_a_stream_with_usage_keeps_every_byte(
    tooled: Bridged, upstream: RawUpstream, pretty: int | None
) -> None:
    body = json.dumps({**RICH, "stream": True}, indent=pretty).encode()
    _send(tooled, body, "off")
    assert _digest(upstream.heard[0].body) == _digest(body)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False, "include_obfuscation": True}])
def test_without_tools_a_stream_only_gains_its_usage(
    tooled: Bridged, upstream: RawUpstream, options: dict[str, bool] | None
) -> None:
    asked = {"model": "m-1", "messages": [], "stream": True, "stream_options": options, "x": 1.50}
    if options is None:
        del asked["stream_options"]
    got = _send(tooled, json.dumps(asked).encode(), "off")
    assert upstream.heard[0].json == {**asked, "stream_options": {**(options or {}), "include_usage": True}}
    assert b"usage" not in got.body
    assert got.body == STREAM.replace(event(choices=[], usage=USAGE), b"")


@pytest.mark.parametrize("tools", ["on", "off"])
def test_an_answer_keeps_every_byte(tooled: Bridged, upstream: RawUpstream, tools: str) -> None:
    completion = json.loads(COMPLETION)
    completion |= {"unknown": {"deep": [None, 1.50]}, "service_tier": "default"}
    completion["choices"][0]["message"] |= {"reasoning_content": "Hm.", "annotations": [{"url": "a"}]}
    answer = json.dumps(completion, indent=3, ensure_ascii=False).encode() + b"\n"
    upstream.answer = lambda talk: talk.send(whole(answer))
    got = _send(tooled, b'{"model": "m-1", "messages": []}', tools)
    assert _digest(got.body) == _digest(answer)


ODD_STREAM = (
    b": OPENROUTER PROCESSING\r\n\r\n"
    + said("", role="assistant", reasoning_content="Hm\u2028").replace(b"\n\n", b"\r\n\r\n")
    + b"event: message\nid: 7\n"
    + event(choices=[{"index": 0, "delta": {"content": "ü🌞", "new": {"a": 1.50}}, "logprobs": None}], x=[1])
    + b"data:"
    + said(" there", None)[6:]
    + said(None, "stop", tool_calls=None)
    + event(choices=[], usage=USAGE)
    + DONE
)


@pytest.mark.parametrize("tools", ["on", "off"])
@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_a_stream_keeps_every_byte_however_it_is_cut(
    tooled: Bridged, upstream: RawUpstream, tools: str, size: int
) -> None:
    def answer(talk: Talk) -> None:
        talk.send(STREAM_HEAD)
        for at in range(0, len(ODD_STREAM), size):
            talk.send(piece(ODD_STREAM[at : at + size]))
        talk.send(piece(b""))

    upstream.answer = answer
    got = _send(tooled, json.dumps({**RICH, "stream": True}).encode(), tools)
    assert got.body == ODD_STREAM


def test_a_stream_that_forgot_its_end_gets_one(tooled: Bridged, upstream: RawUpstream) -> None:
    stream = STREAM.removesuffix(DONE)
    upstream.answer = lambda talk: talk.send(STREAM_HEAD, piece(stream), piece(b""))
    assert _send(tooled, json.dumps({**RICH, "stream": True}).encode(), "off").body == stream + DONE
