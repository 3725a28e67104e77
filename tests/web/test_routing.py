"""Which upstream serves a request, and under which name it knows the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import JSON_TYPE, Got, ask, send
from tests.support.serving import Model, scripted_model

ADD = [{"role": "user", "content": 'call add {"a": 2, "b": 3}'}]


@pytest.fixture(scope="module")
def large() -> Iterator[Model]:
    with scripted_model() as model:
        yield model


@pytest.fixture(scope="module")
def small() -> Iterator[Model]:
    with scripted_model() as model:
        yield model


@pytest.fixture(scope="module")
def shared(large: Model, small: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    folder: Path = tmp_path_factory.mktemp("routing")
    config = configuration(folder, large.base_url)
    config["upstreams"] = {
        "large": {"base_url": large.base_url, "models": ["gpt-*"], "aliases": {"best": "gpt-5"}},
        "small": {
            "base_url": small.base_url,
            "aliases": {"fast": "mini-1"},
            "models": ["gpt-5", "mini-*"],
            "apis": ["chat_completions"],
        },
    }
    with bridged(folder, config, tools={"demo": create_server()}) as bridge:
        yield bridge


@pytest.fixture
def routed(shared: Bridged, large: Model, small: Model) -> Bridged:
    large.forget()
    small.forget()
    return shared


def models_of(model: Model) -> list[str]:
    return [asked.body["model"] for asked in model.asked]


def test_the_first_upstream_whose_patterns_match_is_asked(
    routed: Bridged, large: Model, small: Model
) -> None:
    ask(routed.port, model="gpt-5")
    ask(routed.port, model="mini-7")
    assert (models_of(large), models_of(small)) == (["gpt-5"], ["mini-7"])


def test_an_alias_is_asked_under_the_upstreams_own_name_in_every_round(
    routed: Bridged, large: Model, small: Model
) -> None:
    assert ask(routed.port, model="fast", messages=ADD).status == 200
    assert (models_of(large), models_of(small)) == ([], ["mini-1", "mini-1"])
    row = routed.ended()
    assert (row["model"], row["model_answered"], row["rounds"]) == ("fast", "mini-1", 2)


@pytest.mark.parametrize("prefix", ["/small/v1", "/small"])
def test_a_path_names_the_upstream_of_a_bridged_request(
    routed: Bridged, large: Model, small: Model, prefix: str
) -> None:
    body = (
        b'{"model": "gpt-5", "messages": [{"role": "user", "content": "call add {\\"a\\": 2, \\"b\\": 3}"}]}'
    )
    got = send(routed.port, body, path=f"{prefix}/chat/completions")
    assert (got.status, got.header("x-aibridge-upstream")) == (200, "small")
    assert "add answered: 5" in got.json["choices"][0]["message"]["content"]
    assert models_of(large) == []


def test_a_model_that_nobody_serves_is_told_with_near_ones(routed: Bridged) -> None:
    got = ask(routed.port, model="bset")
    assert (got.status, got.error["code"]) == (404, "model_not_found")
    assert "best" in got.error["message"]


def test_an_upstream_that_does_not_speak_the_api_is_not_asked(routed: Bridged) -> None:
    got = send(routed.port, b'{"model": "mini-1", "messages": []}', path="/v1/messages")
    assert (got.status, got.json["error"]["type"]) == (404, "not_found_error"), "in Anthropic's shape"


def agent(routed: Bridged, **body: Any) -> Got:
    return ask(routed.port, [("user-agent", "opencode/1.18 ai-sdk")], model="gpt-5", **body)


def test_an_agents_request_without_tools_is_for_a_title_and_gets_none_of_ours(
    routed: Bridged, large: Model
) -> None:
    got = agent(routed)
    assert got.header("x-aibridge-tools") == "off; reason=no-tools-of-the-client"
    assert "tools" not in large.asked[0].body


def test_an_agents_request_with_tools_gets_ours_too(routed: Bridged, large: Model) -> None:
    own = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}
    agent(routed, tools=[own])
    assert len(large.asked[0].body["tools"]) > 1


def test_an_agent_may_ask_for_tools_by_the_header(routed: Bridged, large: Model) -> None:
    headers = [("user-agent", "opencode/1.18"), ("x-aibridge-tools", "on")]
    ask(routed.port, headers, model="gpt-5")
    assert large.asked[0].body["tools"]


def test_the_alias_of_a_request_that_is_passed_through_is_replaced_too(routed: Bridged, small: Model) -> None:
    send(routed.port, b'{"model": "fast", "input": "x"}', [JSON_TYPE], path="/v1/embeddings")
    assert routed.ended()["upstream"] == "small"
