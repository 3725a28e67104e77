"""A JSON object is changed in its places; every other byte of it stays."""

import json
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aibridge.wire.json_text import ObjectText, dumps, extend_array, item_spans, loads, replace_items

WHITE = st.text(" \t\n\r", max_size=3)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SURROGATES = st.sampled_from(["\ud83c", "\udf1e", "a\udc00b"])
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | STRINGS | SURROGATES
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)
KEYS = STRINGS | SURROGATES | st.sampled_from(["model", "tools"])


@st.composite
def _texts(draw: st.DrawFn, value: Any = None) -> str:
    """A value as some program might write it: white space, escapes and number formats differ."""
    value = draw(VALUES) if value is None else value
    if isinstance(value, float) and draw(st.booleans()):
        return f"{value:.3E}"
    if isinstance(value, list):
        return "[" + ",".join(draw(WHITE) + draw(_texts(item)) + draw(WHITE) for item in value) + "]"
    escaped = draw(st.booleans()) or "\\ud" in json.dumps(value)
    return json.dumps(value, ensure_ascii=escaped)


@st.composite
def _objects(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """The text of an object and its members as (key, text of the value), duplicate keys included."""
    members = [(key, draw(_texts())) for key in draw(st.lists(KEYS, max_size=6))]
    written = [
        draw(WHITE) + json.dumps(key) + draw(WHITE) + ":" + draw(WHITE) + value + draw(WHITE)
        for key, value in members
    ]
    return draw(WHITE) + "{" + (",".join(written) or draw(WHITE)) + "}" + draw(WHITE), members


@given(_objects())
def test_an_object_is_read_as_the_json_module_reads_it(written: tuple[str, list[tuple[str, str]]]) -> None:
    text, members = written
    read = ObjectText.read(text.encode())
    assert read.value == json.loads(text)
    assert {key: read.source(key) for key, _ in members} == dict(members)


def _further_in(calls: int, text: ObjectText) -> str:
    return text.replace({"model": '"m"'}) if calls == 0 else _further_in(calls - 1, text)


def test_what_was_read_can_be_changed_however_deep_it_is_nested() -> None:
    deepest = 0
    for depth in range(50, sys.getrecursionlimit() + 50, 10):
        nested = "[" * depth + "]" * depth
        try:
            read = ObjectText.read(f'{{"a":{nested}}}'.encode())
        except ValueError as error:
            assert str(error) == "it is nested too deeply"
            continue
        assert _further_in(60, read) == f'{{"a":{nested},"model":"m"}}'
        deepest = depth
    assert deepest > 100


@given(_objects(), st.dictionaries(KEYS, _texts(), max_size=4))
def test_a_change_keeps_every_other_byte(
    written: tuple[str, list[tuple[str, str]]], changes: dict[str, str]
) -> None:
    text, members = written
    read = ObjectText.read(text)
    changed = read.replace(changes)
    assert json.loads(changed) == {
        **json.loads(text),
        **{key: json.loads(new) for key, new in changes.items()},
    }
    expected, rest = "", text
    last = {key: at for at, (key, _) in enumerate(members)}
    for at, (key, value) in enumerate(members):
        begin = rest.index(value, rest.index(":", rest.index(json.dumps(key)) + len(json.dumps(key))))
        expected += rest[:begin] + (changes.get(key, value) if last[key] == at else value)
        rest = rest[begin + len(value) :]
    new = [f"{dumps(key)}:{value}" for key, value in changes.items() if key not in last]
    close = rest.rindex("}")
    comma = "," if members and new else ""
    assert changed == expected + rest[:close] + comma + ",".join(new) + rest[close:]


@given(_objects())
def test_no_change_is_no_change(written: tuple[str, list[tuple[str, str]]]) -> None:
    text, members = written
    read = ObjectText.read(text)
    assert read.replace({}) == text
    assert read.replace({key: read.source(key) for key, _ in members}) == text


@given(st.lists(VALUES, max_size=4), st.lists(_texts(), max_size=3), WHITE, WHITE)
def test_an_array_grows_at_its_end(items: list[Any], more: list[str], before: str, after: str) -> None:
    array = "[" + before + f",{before}".join(json.dumps(item) for item in items) + after + "]"
    extended = extend_array(array, more)
    assert json.loads(extended) == [*json.loads(array), *map(json.loads, more)]
    assert extended.startswith(array.removesuffix("]").rstrip()) and extended.endswith("]")


@given(VALUES)
def test_a_value_survives_writing(value: Any) -> None:
    assert loads(dumps(value).encode()) == value


@given(_objects())
def test_an_object_cut_anywhere_is_refused(written: tuple[str, list[tuple[str, str]]]) -> None:
    text, _ = written
    for at in range(len(text.rstrip())):
        with pytest.raises(ValueError):
            ObjectText.read(text[:at])


@given(_objects(), STRINGS)
def test_more_after_the_object_is_refused(written: tuple[str, list[tuple[str, str]]], more: str) -> None:
    assume(more.strip(" \t\n\r"))
    with pytest.raises(ValueError):
        ObjectText.read(written[0] + more)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "[]",
        "7",
        '"text"',
        "nonsense",
        "{",
        "}",
        "{,}",
        '{"a"}',
        '{"a" 1}',
        '{"a": }',
        '{"a": 1,}',
        '{"a": 1 "b": 2}',
        "{'a': 1}",
        "{1: 2}",
        '{"a": NaN}',
        '{"a": [Infinity]}',
        '{"a": -Infinity}',
        '{"a": 01}',
        '{"a": "\n"}',
        '{"a": "\\x"}',
        '{"a": 1} {}',
        '\ufeff{"a": 1}',
        '{"a": ' + "[" * 100_000,
        "[" * 100_000,
        '{"a": ' + '{"a": ' * 100_000,
    ],
)
def test_what_is_no_object_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        ObjectText.read(text)
    assert str(refused.value)


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(ValueError):
        ObjectText.read(b'{"a": "\xff"}')
    with pytest.raises(ValueError):
        loads(b'"\xff"')


@pytest.mark.parametrize("text", ["NaN", "[1,]", "1 2", "[" * 100_000, ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_numbers_keep_their_digits() -> None:
    text = '{"seed": 123456789012345678901234567890, "top_p": 1.10, "x": 1E5, "model": "m"}'
    assert ObjectText.read(text).replace({"model": '"n"'}) == text.replace('"m"', '"n"')


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    read = ObjectText.read('{"a": 1, "a": 2}')
    assert (read.value["a"], read.source("a")) == (2, "2")
    assert json.loads(read.replace({"a": "3"})) == {"a": 3}


@pytest.mark.parametrize(
    "first", ['{"x":1,"a":2}', '"x"', "[1,2]", "123456789", '{"x":1,"m":{"x":1,"m":2}}', "12", "5"]
)
def test_a_key_that_stands_twice_leads_no_change_astray(first: str) -> None:
    for other in ("5", "1234567", '{"x":1}', '"m"'):
        text = f'{{"m":{first},"k":0,"m":{other}}}'
        assert ObjectText.read(text).replace({"m": '"n"'}) == f'{{"m":{first},"k":0,"m":"n"}}'
        assert ObjectText.read(text).replace({"k": "1"}) == f'{{"m":{first},"k":1,"m":{other}}}'


@given(
    st.lists(VALUES, max_size=5), st.dictionaries(st.integers(0, 4), st.lists(_texts(), max_size=2)), WHITE
)
def test_items_of_an_array_are_replaced_in_their_places(
    items: list[Any], changes: dict[int, list[str]], white: str
) -> None:
    array = "[" + white + f"{white},{white}".join(json.dumps(item) for item in items) + white + "]"
    assert [json.loads(array[begin:end]) for begin, end in item_spans(array)] == items
    changed = replace_items(array, changes)
    expected: list[Any] = []
    for at, item in enumerate(items):
        expected += map(json.loads, changes[at]) if at in changes else [item]
    assert json.loads(changed) == expected
    first = min(changes, default=len(items))
    if items and first:
        kept = item_spans(array)[min(first, len(items)) - 1][1]
        assert changed.startswith(array[:kept]), "what comes before the first change stays as it was"
