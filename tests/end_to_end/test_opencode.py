"""opencode, a coding agent: its own tools and the injected ones in the same run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from aibridge.demo.answering import Asked
from tests.end_to_end.asking import Json
from tests.end_to_end.conversations import sum_of
from tests.end_to_end.talking import assert_each_begins_with_the_one_before, assert_whole, messages_of
from tests.support.bridge import Bridge
from tests.support.environment import clean_env, node_program
from tests.support.processes import run
from tests.support.serving import Model

CONTEXT, OUTPUT = 40_000, 4_000
"""opencode's limits: it compacts what was said once an answer's usage leaves no room for an output."""
EIGHT_HIDDEN_ROUNDS = " then ".join(f'call add {{"a":{number},"b":{number}}}' for number in range(1, 9))


class Opencode:
    """opencode in an empty home and folder; `headers` go with every request of its model."""

    def __init__(self, folder: Path, base_url: str, headers: Mapping[str, str]) -> None:
        self._program, self._folder = node_program("opencode"), folder / "work"
        self._env = clean_env(
            folder / "home", OPENCODE_DISABLE_MODELS_FETCH="1", OPENCODE_DISABLE_AUTOUPDATE="1"
        )
        self._folder.mkdir()
        (self._folder / "opencode.json").write_text(_config(base_url, headers))

    def run(self, prompt: str, *options: str) -> list[Json]:
        """Its events for a prompt, in a new conversation if `options` do not say otherwise."""
        options = ("--title", "t", "--format", "json", *options)
        ended = run([self._program, "run", *options, prompt], self._folder, self._env, seconds=90)
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]


def _config(base_url: str, headers: Mapping[str, str]) -> str:
    limit = {"context": CONTEXT, "output": OUTPUT}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "bridge",
        "options": {"baseURL": base_url, "apiKey": "dummy", "headers": dict(headers)},
        "models": {"scripted-1": {"name": "scripted-1", "tool_call": True, "limit": limit}},
    }
    names = {"model": "bridge/scripted-1", "small_model": "bridge/scripted-1"}
    return json.dumps({**names, "autoupdate": False, "share": "disabled", "provider": {"bridge": provider}})


Start = Callable[..., Opencode]


@pytest.fixture
def opencode(tmp_path: Path) -> Start:
    """How a test starts it: with a base URL, and headers if it wants some."""
    return lambda base_url, headers=None: Opencode(tmp_path, base_url, headers or {})


def _texts(events: list[Json]) -> str:
    return "\n".join(event["part"]["text"] for event in events if event["type"] == "text")


def _tools(events: list[Json]) -> list[str]:
    return [event["part"]["tool"] for event in events if event["type"] == "tool_use"]


def _summarises(asked: Asked) -> bool:
    """opencode asks for a summary of what was said without offering its own tools."""
    return "bash" not in [tool["function"]["name"] for tool in asked.body.get("tools") or ()]


def test_opencode_runs_its_own_tool(opencode: Start, bridge: Bridge) -> None:
    events = opencode(bridge.base_url).run('call bash {"command":"echo hi","description":"d"}')
    assert _tools(events) == ["bash"]
    assert "bash answered: hi" in _texts(events)
    record = bridge.ended()
    assert record["client"] == "opencode", "it is recognised"
    assert record["session_id"].startswith("ses_")


def test_opencode_gets_an_answer_made_with_an_injected_tool(
    opencode: Start, bridge: Bridge, model: Model
) -> None:
    events = opencode(bridge.base_url).run('say I add. call add {"a":1,"b":2}')
    assert _tools(events) == []
    assert "I add.\n\nadd answered: 3" in _texts(events)
    assert "demo__" not in json.dumps(events)
    assert [each.round for each in model.asked] == [1, 2]


def test_opencode_and_aibridge_run_calls_of_the_same_turn_and_remember_them(
    opencode: Start, bridge: Bridge, model: Model
) -> None:
    bash = 'call bash {"command":"echo hi","description":"d"}'
    hidden, mixed = 'call add {"a":1,"b":2}', f'{bash} and call weather {{"city":"Oslo"}}'
    agent = opencode(bridge.base_url)
    events = agent.run(f"say First. and {hidden} then say Second. and {mixed}")
    assert _tools(events) == ["bash"]
    assert _texts(events).startswith("First.\n\nSecond.\nadd answered: 3\nbash answered: hi")
    assert "weather answered: rain, -4 °C in Oslo" in _texts(events)
    assert "demo__" not in json.dumps(events)
    assert _texts(agent.run("say Bye.", "--continue")) == "Bye."
    asked = messages_of(model)
    assert_whole(asked[2], ("bash", "hi"), ("weather", "rain, -4 °C in Oslo"))
    assert [said["content"] for said in asked[3] if said["role"] == "assistant"][:2] == ["First.", "Second."]
    assert_each_begins_with_the_one_before(asked)


def test_many_hidden_rounds_do_not_make_opencode_forget(
    opencode: Start, bridge: Bridge, model: Model
) -> None:
    agent = opencode(bridge.base_url)
    assert "add answered: 16" in _texts(agent.run(EIGHT_HIDDEN_ROUNDS))
    assert _texts(agent.run("say Bye.", "--continue")) == "Bye."
    assert [each.round for each in model.asked] == [*range(1, 10), 1]
    assert sum_of(model)["total_tokens"] > CONTEXT - OUTPUT
    assert not any(_summarises(each) for each in model.asked)


def test_opencode_would_forget_if_it_were_shown_the_sum(
    opencode: Start, bridge: Bridge, model: Model
) -> None:
    opencode(bridge.base_url, {"x-aibridge-usage": "sum"}).run(EIGHT_HIDDEN_ROUNDS)
    assert any(_summarises(each) for each in model.asked)
