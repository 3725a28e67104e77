"""What the model gets of a tool's result."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.tools.results import result_text

HELLO = {"type": "text", "text": "hello"}


def text_of(*blocks: dict[str, Any], limit: int = 1000, **more: Any) -> str:
    return result_text({"content": list(blocks), **more}, limit)


def test_texts_are_joined_by_a_newline() -> None:
    assert text_of(HELLO, {"type": "text", "text": "world"}) == "hello\nworld"


def test_structured_content_is_json_where_there_is_no_text() -> None:
    assert text_of(structuredContent={"grad": "9 °C"}) == '{"grad": "9 °C"}'
    assert text_of(structuredContent=0) == "0"


def test_structured_content_is_left_out_where_there_is_text() -> None:
    assert text_of(HELLO, structuredContent={"text": "hello"}) == "hello"


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ({"type": "image", "data": "AAAA", "mimeType": "image/png"}, "[image, image/png, 3 bytes]"),
        ({"type": "audio", "data": "AA==", "mimeType": "audio/wav"}, "[audio, audio/wav, 1 bytes]"),
        (
            {
                "type": "resource_link",
                "name": "log",
                "uri": "file:///log",
                "mimeType": "text/plain",
                "size": 9,
            },
            "[link to resource log <file:///log>, text/plain, 9 bytes]",
        ),
        (
            {"type": "resource_link", "name": "log", "uri": "file:///log"},
            "[link to resource log <file:///log>, unknown type, unknown size]",
        ),
        (
            {"type": "resource", "resource": {"uri": "a:b", "blob": "AAA=", "mimeType": "application/pdf"}},
            "[resource <a:b>, application/pdf, 2 bytes]",
        ),
        ({"type": "hologram"}, "[hologram, unknown type, unknown size]"),
    ],
)
def test_what_is_no_text_is_one_line(block: dict[str, Any], line: str) -> None:
    assert text_of(HELLO, block) == f"hello\n{line}"


def test_the_text_of_an_embedded_resource_is_given() -> None:
    assert text_of({"type": "resource", "resource": {"uri": "a:b", "text": "inside"}}) == "inside"


def test_an_error_stands_under_error() -> None:
    assert text_of({"type": "text", "text": "no such city"}, isError=True) == "Error: no such city"


def test_an_empty_result_is_told() -> None:
    assert text_of() == "(The tool gave no output.)"
    assert text_of({"type": "text", "text": ""}) == "(The tool gave no output.)"


def test_a_long_result_is_cut_with_a_line_that_says_so() -> None:
    cut = text_of({"type": "text", "text": "x" * 500}, limit=10)
    assert cut == "x" * 10 + "\n[Cut here: these are the first 10 of 500 characters.]"


@given(text=st.text(max_size=50), limit=st.integers(1, 60))
def test_nothing_is_cut_that_fits(text: str, limit: int) -> None:
    given_text = text_of({"type": "text", "text": text or "x"}, limit=limit)
    assert given_text.startswith((text or "x")[:limit])
    assert ("[Cut here" in given_text.removeprefix(text)) == (len(text or "x") > limit)
