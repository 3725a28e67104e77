"""A turn goes back upstream with valid arguments and the unknown fields that the upstream takes."""

import json
from typing import Any

import pytest

from aibridge.dialects.chat_completions.history import limited, said
from aibridge.nouns import SendBack

SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


def _call(arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": arguments}, **more}


def _message(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "Hm.", **more, "tool_calls": list(calls)}


@pytest.mark.parametrize("arguments", ["", "null", "[1]", '{"city":', "NaN", None])
def test_arguments_that_are_no_object_go_back_as_an_empty_one(arguments: str | None) -> None:
    told = json.loads(said(_message(_call(arguments)), "all"))
    assert told["tool_calls"] == [_call("{}")]


def test_valid_arguments_go_back_as_the_model_wrote_them() -> None:
    told = json.loads(said(_message(_call('{ "city": "Oslo" }')), "none"))
    assert told["tool_calls"] == [_call('{ "city": "Oslo" }')]


@pytest.mark.parametrize(
    ("send_back", "of_message", "of_call"),
    [
        ("all", {"reasoning_content": "Noon.", "annotations": []}, SIGNED),
        ("none", {}, {}),
        ((), {}, {}),
        (("reasoning_content",), {"reasoning_content": "Noon."}, {}),
        (("extra_content", "unheard_of"), {}, SIGNED),
    ],
)
def test_unknown_fields_go_back_where_the_upstream_takes_them(
    send_back: SendBack, of_message: dict[str, Any], of_call: dict[str, Any]
) -> None:
    message = _message(_call(**SIGNED), reasoning_content="Noon.", annotations=[])
    assert limited(message, send_back) == _message(_call(**of_call), **of_message)


def test_fields_inside_a_function_are_limited_too() -> None:
    call = _call()
    call["function"]["parsed"] = {}
    assert limited(_message(call), "none") == _message(_call())


def test_a_custom_call_has_no_field_that_is_unknown() -> None:
    custom = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "1"}}
    assert limited(_message(custom), "none") == _message(custom)


def test_a_message_without_calls_gets_none() -> None:
    assert limited({"role": "assistant", "content": "Hm.", "reasoning": "x"}, "none") == {
        "role": "assistant",
        "content": "Hm.",
    }
