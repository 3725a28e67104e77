"""What the words of a user message make of the scripted model."""

import json

import pytest

from aibridge.demo.rules import Round, Script, WantedCall, read_script


def _calls(script: Script) -> list[list[tuple[str, str]]]:
    return [[(call.name, call.arguments) for call in each.calls] for each in script.rounds]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "please break this down and call me later",
        "count on me",
        "I say nothing",
        "a reason to fail",
        "What do you call it?",
    ],
)
def test_prose_is_no_script(text: str) -> None:
    assert read_script(text) == Script()


def test_a_call_keeps_its_arguments_as_they_are_written() -> None:
    assert _calls(read_script('call add { "b": 2,"a":1.0 }')) == [[("add", '{ "b": 2,"a":1.0 }')]]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert _calls(read_script("call now")) == [[("now", "{}")]]


def test_arguments_that_are_no_json_go_out_as_they_are() -> None:
    assert _calls(read_script('call add {"a": and call now')) == [[("add", '{"a":'), ("now", "{}")]]


def test_and_joins_calls_of_one_round_and_then_begins_the_next() -> None:
    script = read_script('call a {"x":1} and call b then call c {"say":"then call d"} then say done')
    assert _calls(script) == [[("a", '{"x":1}'), ("b", "{}")], [("c", '{"say":"then call d"}')], []]
    assert script.at(3).text == "done"


def test_text_goes_before_the_calls_of_its_round() -> None:
    for joint in (" ", " and ", ", and ", "\n"):
        script = read_script(f"say Let me look, and then I tell.{joint}call a {{}}")
        assert script.rounds == [Round(text="Let me look, and then I tell.", calls=[WantedCall("a", "{}")])]


def test_quotes_and_escapes_of_an_agent_do_no_harm() -> None:
    arguments = '{"command":"echo \\"hi\\"","description":"d"}'
    wrapped = '"' + f"call bash {arguments}".replace('"', '\\"') + '"'
    [[(name, given)]] = _calls(read_script(wrapped))
    assert (name, json.loads(given)) == ("bash", {"command": 'echo "hi"', "description": "d"})
    assert read_script('"say hello there"').at(1).text == "hello there"


def test_a_script_is_found_below_what_an_agent_puts_above_it() -> None:
    text = '<reminder>\nYou may call tools and break things.\n</reminder>\nMy wish: call a {"x":1} then break'
    script = read_script(text)
    assert _calls(script) == [[("a", '{"x":1}')], []]
    assert script.at(2).breaks


def test_faults_and_manners_belong_to_the_round_they_stand_in() -> None:
    script = read_script("reason and slow 20 and call a then fail 503 once")
    assert script.at(1) == Round(calls=[WantedCall("a", "{}")], pause_ms=20, reasons=True)
    assert script.at(2) == Round(status=503, fails_once=True)


def test_a_rule_can_be_moved_to_a_later_round() -> None:
    script = read_script("call a and fail 429 in round 2 and error mid-stream in round 3")
    assert [each.status for each in script.rounds] == [200, 429, 200]
    assert script.at(3).errs


def test_forever_repeats_the_last_round_with_calls() -> None:
    script = read_script("call a then call b forever")
    assert [script.at(number).calls[0].name for number in (1, 2, 3, 99)] == ["a", "b", "b", "b"]


def test_counting_gives_numbered_pieces() -> None:
    assert read_script("count 3 and slow 5").at(1) == Round(pieces=["1 ", "2 ", "3 "], pause_ms=5)
