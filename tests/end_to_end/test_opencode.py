"""opencode, a coding agent: its own tools and the injected ones in the same run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.asking import Json
from tests.support.bridge import Bridge
from tests.support.environment import clean_env, node_program
from tests.support.processes import run
from tests.support.serving import Model

Opencode = Callable[[str, str], list[Json]]


def _config(base_url: str) -> str:
    scripted = {"name": "scripted-1", "tool_call": True, "limit": {"context": 128000, "output": 8000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "bridge",
        "options": {"baseURL": base_url, "apiKey": "dummy"},
        "models": {"scripted-1": scripted},
    }
    names = {"model": "bridge/scripted-1", "small_model": "bridge/scripted-1"}
    return json.dumps({**names, "autoupdate": False, "share": "disabled", "provider": {"bridge": provider}})


@pytest.fixture
def opencode(tmp_path: Path) -> Opencode:
    """Run opencode with a prompt, in an empty home and folder; its events."""
    program = node_program("opencode")
    folder = tmp_path / "work"
    folder.mkdir()

    def prompt(base_url: str, text: str) -> list[Json]:
        (folder / "opencode.json").write_text(_config(base_url))
        env = clean_env(tmp_path / "home", OPENCODE_DISABLE_MODELS_FETCH="1", OPENCODE_DISABLE_AUTOUPDATE="1")
        command = (program, "run", "--title", "t", "--format", "json", text)
        ended = run(command, folder, env, seconds=90)
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return prompt


def _texts(events: list[Json]) -> str:
    return "\n".join(event["part"]["text"] for event in events if event["type"] == "text")


def _tools(events: list[Json]) -> list[str]:
    return [event["part"]["tool"] for event in events if event["type"] == "tool_use"]


def test_opencode_runs_its_own_tool(opencode: Opencode, base_url: str) -> None:
    events = opencode(base_url, 'call bash {"command":"echo hi","description":"d"}')
    assert _tools(events) == ["bash"]
    assert "bash answered: hi" in _texts(events)


def test_opencode_gets_an_answer_made_with_an_injected_tool(
    opencode: Opencode, bridge: Bridge, model: Model
) -> None:
    events = opencode(bridge.base_url, 'say I add. call add {"a":1,"b":2}')
    assert _tools(events) == []
    assert "I add.\n\nadd answered: 3" in _texts(events)
    assert "demo__" not in json.dumps(events)
    assert [each.round for each in model.asked] == [1, 2]


def test_opencode_and_aibridge_run_calls_of_the_same_run(opencode: Opencode, bridge: Bridge) -> None:
    script = 'call bash {"command":"echo hi","description":"d"} then call add {"a":1,"b":2}'
    events = opencode(bridge.base_url, script)
    assert _tools(events) == ["bash"]
    assert "bash answered: hi\n\nadd answered: 3" in _texts(events)
    assert "demo__" not in json.dumps(events)


def test_opencode_is_recognised_in_the_records(opencode: Opencode, bridge: Bridge) -> None:
    opencode(bridge.base_url, "say hello")
    record = bridge.ended()
    assert record["client"] == "opencode"
    assert record["session_id"].startswith("ses_")
