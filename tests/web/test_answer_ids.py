"""Going on from an earlier answer by its id, where the upstream keeps what was said."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.serving import Model

Json = dict[str, Any]
ADD = 'call add {"a":1,"b":2}'
COLOUR: Json = {"type": "function", "name": "colour", "parameters": {"type": "object", "properties": {}}}
MIXED = f"{ADD} and call colour"


@contextmanager
def _bridge(folder: Path, model: Model) -> Iterator[Bridged]:
    with bridged(folder, configuration(folder, model.base_url), {"demo": create_server()}) as bridge:
        yield bridge


@pytest.fixture
def bridge(tmp_path: Path, model: Model) -> Iterator[Bridged]:
    with _bridge(tmp_path, model) as bridge:
        yield bridge


def _ask(bridge: Bridged, *, key: str = "sk-one", **body: Any) -> Json:
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(
        f"{bridge.url}/v1/responses", json={"model": "scripted-1", **body}, headers=headers, trust_env=False
    )
    told: Json = answer.json()
    return told


def _text(answer: Json) -> str:
    assert answer.get("output"), answer
    return "\n".join(part["text"] for item in answer["output"] for part in item.get("content") or ())


def _output(answer: Json, text: str) -> Json:
    calls = [item for item in answer["output"] if item["type"] == "function_call"]
    return {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": text}


def test_an_answer_with_hidden_rounds_can_be_gone_on_from(bridge: Bridged, model: Model) -> None:
    first = _ask(bridge, input=ADD)
    assert _text(first) == "add answered: 3"
    next_ = _ask(bridge, input="say Bye.", previous_response_id=first["id"])
    assert _text(next_) == "Bye."
    assert next_["previous_response_id"] == first["id"], "as the client asked it"
    assert model.asked[-1].body["previous_response_id"] != first["id"], "the last round's"
    assert {each.status for each in model.asked} == {200}


def test_also_after_a_restart(tmp_path: Path, model: Model) -> None:
    with _bridge(tmp_path, model) as bridge:
        first = _ask(bridge, input=f"{ADD} and call colour", tools=[COLOUR])
    with _bridge(tmp_path, model) as bridge:
        told = _ask(bridge, input=[_output(first, "navy")], previous_response_id=first["id"], tools=[COLOUR])
    assert _text(told) == "add answered: 3\ncolour answered: navy"


def test_in_several_hidden_rounds_each_begins_with_the_waiting_outputs(bridge: Bridged, model: Model) -> None:
    script = f'{MIXED} then call add {{"a":3,"b":4}}'
    first = _ask(bridge, input=script, tools=[COLOUR])
    told = _ask(bridge, input=[_output(first, "navy")], previous_response_id=first["id"], tools=[COLOUR])
    assert _text(told) == "add answered: 3\ncolour answered: navy\nadd answered: 7"
    outputs = [[item["type"] for item in each.body["input"]] for each in model.asked[1:]]
    assert outputs[0] == ["function_call_output"] * 2
    assert outputs[1][:2] == outputs[0]


def test_in_a_conversation_only_outputs_are_sent(bridge: Bridged, model: Model) -> None:
    first = _ask(bridge, input=f"{ADD} then {MIXED}", conversation="conv_1", tools=[COLOUR])
    told = _ask(bridge, input=[_output(first, "navy")], conversation={"id": "conv_1"}, tools=[COLOUR])
    assert _text(told) == "add answered: 3\nadd answered: 3\ncolour answered: navy"
    assert {each.status for each in model.asked} == {200}


def test_outputs_that_wait_are_only_their_callers(bridge: Bridged) -> None:
    first = _ask(bridge, input=MIXED, tools=[COLOUR])
    more: Json = {"previous_response_id": first["id"], "tools": [COLOUR]}
    told = _ask(bridge, key="sk-two", input=[_output(first, "navy")], **more)
    assert "did not have response messages" in told["error"]["message"]


def test_what_the_upstream_does_not_keep_is_not_kept_here(bridge: Bridged) -> None:
    _ask(bridge, input=ADD, store=False)
    assert bridge.rows("answer_ids") == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: httpx2.get(url, trust_env=False, verify=False),
        lambda url: httpx2.post(f"{url}/cancel", trust_env=False, verify=False),
        lambda url: httpx2.delete(url, trust_env=False, verify=False),
    ],
)
def test_an_answer_is_found_under_the_id_that_its_client_knows(
    bridge: Bridged, ask: Callable[[str], httpx2.Response]
) -> None:
    first = _ask(bridge, input=f"{ADD} then {ADD}")
    answer = ask(f"{bridge.url}/v1/responses/{first['id']}")
    assert (answer.status_code, answer.json()["id"]) == (200, first["id"])


def test_input_items_are_those_of_the_last_round(bridge: Bridged) -> None:
    first = _ask(bridge, input=ADD)
    answer = httpx2.get(
        f"{bridge.url}/v1/responses/{first['id']}/input_items?limit=5", trust_env=False, verify=False
    )
    assert next(item["type"] for item in answer.json()["data"]) == "function_call_output"


def test_tokens_are_counted_from_the_same_answer(bridge: Bridged, model: Model) -> None:
    first = _ask(bridge, input=ADD)
    body = {"model": "scripted-1", "previous_response_id": first["id"]}
    counted = httpx2.post(f"{bridge.url}/v1/responses/input_tokens", json=body, trust_env=False, verify=False)
    straight = {**body, "previous_response_id": _last_id(model)}
    alone = httpx2.post(
        f"{model.base_url}/responses/input_tokens", json=straight, trust_env=False, verify=False
    )
    assert counted.json() == alone.json()
    assert counted.json()["input_tokens"] > 0


def _last_id(model: Model) -> str:
    return f"resp_{model.asked[-1].digest[:40]}"
