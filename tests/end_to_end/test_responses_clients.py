"""Clients of `/v1/responses`: the OpenAI SDKs, OpenAI's Agents SDK and the Vercel AI SDK, in all their ways.

Each holds the same conversations, in which the model calls aibridge's tools and the client's at once; the
model quotes all that it knows, and refuses a call without an answer. It is asked in its own Responses API,
and as an upstream that has chat completions alone: no client can tell.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.end_to_end.asking import Json
from tests.end_to_end.talking import (
    HIDDEN_THEN_MIXED,
    HIDDEN_THEN_MIXED_ANSWER,
    MIXED,
    MIXED_ANSWER,
    PROJECT,
    SHADES,
    Program,
    Said,
    Talk,
    assert_each_begins_with_the_one_before,
    client_program,
    opening,
)
from tests.support.bridge import Bridge
from tests.support.clients import sdk
from tests.support.environment import END_TO_END, NODE_MODULES, NPM_CI, needs
from tests.support.serving import Model

COLOUR: Json = {
    "type": "function",
    "name": "colour",
    "description": "Pick a colour.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"shade": {"type": "string"}}, "required": ["shade"]},
}
Read = Callable[[openai.OpenAI, Json], Any]


def _create(client: openai.OpenAI, body: Json) -> Any:
    return client.responses.create(**body)


def _iterate(client: openai.OpenAI, body: Json) -> Any:
    *_, last = client.responses.create(**body, stream=True)
    assert last.type == "response.completed", last
    return last.response


def _stream(client: openai.OpenAI, body: Json) -> Any:
    with client.responses.stream(**body) as stream:
        return stream.get_final_response()


def _python(read: Read, client: openai.OpenAI, *, follows: bool) -> Talk:
    """A conversation with openai-python; `follows`: by `previous_response_id`, else with the whole input."""
    items: list[Any] = []
    link: Json = {} if follows else {"store": False}

    def talk(prompt: str) -> Said:
        ran: list[str] = []
        items.append({"role": "user", "content": prompt})
        while True:
            body = {"model": "scripted-1", "input": list(items), "tools": [COLOUR], **link}
            answer = read(client, body)
            if follows:
                link["previous_response_id"] = answer.id
                items.clear()
            else:
                items.extend(item.model_dump(mode="json", exclude_unset=True) for item in answer.output)
            calls = [item for item in answer.output if item.type == "function_call"]
            if not calls:
                return Said(answer.output_text, ran)
            for call in calls:
                shade = json.loads(call.arguments)["shade"]
                ran.append(shade)
                output = {"type": "function_call_output", "call_id": call.call_id, "output": SHADES[shade]}
                items.append(output)

    return talk


PYTHON: dict[str, tuple[Read, bool]] = {
    "python create": (_create, False),
    "python iterate": (_iterate, False),
    "python stream": (_stream, False),
    "python create by id": (_create, True),
    "python stream by id": (_stream, True),
}
NODE = (
    "responses create",
    "responses iterate",
    "responses stream",
    "responses create by id",
    "responses stream by id",
    "ai-sdk openai responses",
    "ai-sdk openai responses unstored",
)
AGENTS = ("responses_run", "responses_run_streamed")
FOLLOWS = {way for way in (*PYTHON, *NODE) if way.endswith("by id")}
REFERS = {"ai-sdk openai responses"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = needs("node", "install Node.js 20 or newer")
    needs(NODE_MODULES / "ai", NPM_CI)
    command = (program, END_TO_END / "js" / "converse.mjs")
    with client_program(command, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    python = needs(PROJECT / ".venv-clients" / "bin" / "python", "run `make .venv-clients/.installed`")
    command = (python, "-m", "tests.end_to_end.clients.openai_agents_client")
    with client_program(command, tmp_path_factory.mktemp("agents")) as running:
        yield running


@pytest.fixture(params=["responses", "chat_completions"])
def spoken(request: pytest.FixtureRequest) -> str:
    """What the upstream speaks."""
    return str(request.param)


@pytest.fixture
def door(bridge: Bridge, spoken: str) -> str:
    """The base URL that leads there."""
    return bridge.base_url if spoken == "responses" else f"{bridge.url}/chatting/v1"


@pytest.fixture(params=[*PYTHON, *NODE, *AGENTS])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(door: str) -> Iterator[openai.OpenAI]:
    with sdk(door) as client:
        yield client


@pytest.fixture
def talk(request: pytest.FixtureRequest, way: str, client: openai.OpenAI, door: str) -> Talk:
    if way in PYTHON:
        read, follows = PYTHON[way]
        return _python(read, client, follows=follows)
    program: Program = request.getfixturevalue("agents" if way in AGENTS else "node")
    return program.begin(way, door)


def _told(said: Said, way: str) -> list[str]:
    return _lines(said.answer, way)


def _lines(answer: str, way: str) -> list[str]:
    """What the model quotes; by id, outputs that waited come before the client's."""
    return sorted(answer.splitlines()) if way in FOLLOWS else answer.splitlines()


def _assert_prefixes(model: Model, way: str, spoken: str) -> None:
    """All was accepted, and each input begins with the one before, where inputs are whole and plain."""
    assert {each.status for each in model.asked} == {200}
    if spoken == "chat_completions":  # whatever the client says by an id is said whole there
        assert_each_begins_with_the_one_before([each.body["messages"] for each in model.asked])
    elif way not in FOLLOWS | REFERS:
        assert_each_begins_with_the_one_before([each.body["input"] for each in model.asked])


def test_a_hidden_call_is_run_unseen(talk: Talk, way: str, spoken: str, model: Model) -> None:
    assert talk(opening('call add {"a":1,"b":2}')) == Said("add answered: 3", [])
    assert talk("say Bye.") == Said("Bye.", [])
    assert [each.round for each in model.asked] == [1, 2, 1]
    _assert_prefixes(model, way, spoken)


def test_a_turn_with_both_kinds_of_calls_reaches_the_model_whole(
    talk: Talk, way: str, spoken: str, model: Model
) -> None:
    said = talk(opening(MIXED))
    assert (_told(said, way), said.ran) == (_lines(MIXED_ANSWER, way), ["dark"])
    _assert_prefixes(model, way, spoken)


def test_hidden_and_mixed_turns_are_remembered(talk: Talk, way: str, spoken: str, model: Model) -> None:
    said = talk(opening(HIDDEN_THEN_MIXED))
    assert _told(said, way) == _lines(HIDDEN_THEN_MIXED_ANSWER, way)
    assert sorted(said.ran) == ["dark", "light"]
    assert _told(talk(opening(MIXED)), way) == _lines(MIXED_ANSWER, way)
    assert talk("say Bye.") == Said("Bye.", [])
    _assert_prefixes(model, way, spoken)


@pytest.mark.parametrize("read", [_create, _iterate, _stream])
@pytest.mark.parametrize("fault", ["fail 429", "count 20 and break", "count 20 and error mid-stream"])
@pytest.mark.parametrize("before", ["", 'call add {"a":1,"b":2} then '])
def test_a_fault_is_never_taken_for_an_answer(
    client: openai.OpenAI, read: Read, fault: str, before: str
) -> None:
    body: Json = {"model": "scripted-1", "input": opening(before + fault)}
    with pytest.raises((openai.OpenAIError, RuntimeError, AssertionError)):
        read(client, body)


def test_shown_calls_are_items_that_the_sdk_knows(client: openai.OpenAI) -> None:
    asked: Json = {"model": "scripted-1", "input": 'call add {"a":1,"b":2}'}
    with client.responses.stream(**asked, extra_headers={"x-aibridge-show": "calls"}) as stream:
        answer = stream.get_final_response()
    shown, said = answer.output
    assert shown.type == "mcp_call"
    assert (shown.server_label, shown.name, shown.arguments) == ("demo", "add", '{"a":1,"b":2}')
    assert (shown.output, shown.status) == ("3", "completed")
    assert said.type == "message"
    assert answer.output_text == "add answered: 3"
