"""The translator by itself: the table of fields, and all shapes of providers, however chopped."""

import json
import random
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from aibridge.dialects.base import InvalidAnswer
from aibridge.dialects.translating import TRANSLATORS
from aibridge.dialects.translating.responses_to_chat.fields import (
    ANSWERED,
    HINTS,
    IGNORED,
    PASSED,
    REFUSED,
    TRANSLATED,
)
from aibridge.errors import BridgeError
from aibridge.wire.sse import Decoder

Json = dict[str, Any]
GROUPS = (ANSWERED, HINTS, IGNORED, PASSED, REFUSED, TRANSLATED)
CONVERSATIONS = Path(__file__).parents[2] / "conversations"
ROUNDS = sorted(
    each for each in CONVERSATIONS.rglob("round-*.sse") if b'"type":"response.' not in each.read_bytes()
)
TRANSLATOR = TRANSLATORS[0]


def test_every_field_that_the_sdk_knows_has_its_place() -> None:
    known = set(typing.get_type_hints(ResponseCreateParamsBase))
    assert known <= frozenset().union(*GROUPS), known - frozenset().union(*GROUPS)


def test_no_field_has_two_places() -> None:
    assert sum(map(len, GROUPS)) == len(frozenset().union(*GROUPS))


def _translated(pieces: Iterator[bytes]) -> list[Json] | str:
    """The events of an answer, without what is made anew; or why it is none."""
    value: Json = {"model": "m", "input": "hi", "stream": True}
    translation = TRANSLATOR.answer(value, TRANSLATOR.request(value, [], "all"))
    shown = b""
    try:
        for piece in pieces:
            shown += translation.take(piece)
        shown += translation.finish()
    except InvalidAnswer as reason:
        return str(reason)
    events = [json.loads(event.data or b"") for event in Decoder().feed(shown)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    _check_items(events)
    return events


def _check_items(events: list[Json]) -> None:
    """Each item is added once, done once, and as it is in the response at the end."""
    added = [event for event in events if event["type"] == "response.output_item.added"]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in added] == list(range(len(added)))
    final = events[-1]["response"]
    assert sorted(event["output_index"] for event in done) == list(range(len(final["output"])))
    assert {event["item"]["id"]: event["item"] for event in done} == {
        item["id"]: item for item in final["output"]
    }


def _outcome(events: list[Json] | str) -> Any:
    """What does not differ from run to run."""
    if isinstance(events, str):
        return events
    final = events[-1]["response"]
    told = ("type", "content", "name", "arguments", "input", "summary", "encrypted_content")
    items = [{key: item.get(key) for key in told} for item in final["output"]]
    return final["status"], final["error"], final["usage"], items, [event["type"] for event in events]


def _chopped(data: bytes, seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    while data:
        length = dice.randint(1, 60)
        yield data[:length]
        data = data[length:]


@pytest.mark.parametrize("file", ROUNDS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_shape_of_a_provider_is_the_same_however_it_is_chopped(file: Path) -> None:
    data = file.read_bytes()
    whole = _outcome(_translated(iter([data])))
    assert _outcome(_translated(bytes([byte]) for byte in data)) == whole
    assert _outcome(_translated(_chopped(data, seed=len(data)))) == whole


@pytest.mark.parametrize(
    ("choice", "names", "asked"),
    [
        ("auto", ["f", "g"], "auto"),
        ("required", ["f", "g"], "required"),
        ("none", ["f", "g"], "none"),
        ({"type": "function", "name": "f"}, ["f", "g"], {"type": "function", "function": {"name": "f"}}),
        ({"type": "custom", "name": "g"}, ["f", "g"], {"type": "function", "function": {"name": "g"}}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            ["f"],
            "required",
        ),
    ],
)
def test_every_form_of_tool_choice(choice: Any, names: list[str], asked: Any) -> None:
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    body = TRANSLATOR.request({"model": "m", "tools": tools, "tool_choice": choice}, [], "all").body
    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert body["tool_choice"] == asked


def test_results_stand_behind_their_calls_and_images_behind_the_results() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    items = [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"role": "user", "content": "wait"},
        {"type": "function_call_output", "call_id": "b", "output": [image]},
        {"type": "function_call_output", "call_id": "a", "output": "done"},
    ]
    messages = TRANSLATOR.request({"model": "m", "input": items}, [], "all").body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert [message.get("tool_call_id") for message in messages[2:4]] == ["a", "b"]
    assert messages[4]["content"][1]["image_url"] == {"url": image["image_url"]}


def test_an_output_without_its_call_is_refused() -> None:
    items = [{"type": "function_call_output", "call_id": "a", "output": "done"}]
    with pytest.raises(BridgeError, match="No tool call found"):
        TRANSLATOR.request({"model": "m", "input": items}, [], "all")
