"""Codex, a coding agent that speaks `/v1/responses` alone: its own tools and the injected ones in a turn.

`upstream` is the API that the model behind aibridge speaks. The scripts do not depend on it.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.asking import Json
from tests.end_to_end.talking import PROJECT, assert_each_begins_with_the_one_before, opening
from tests.support.bridge import Bridge
from tests.support.environment import clean_env, node_program, python_program
from tests.support.processes import run
from tests.support.serving import Model

README_URL = "http://127.0.0.1:4180/v1"
NO_RETRIES = (
    *("-c", "model_providers.aibridge.stream_max_retries=0"),
    *("-c", "model_providers.aibridge.request_max_retries=0"),
)
ADD = 'call add {"a":1,"b":2}'
ECHO = 'call exec_command {"cmd":"echo hi"}'


class Codex:
    """Codex in an empty home and folder, with the configuration that the README tells users to paste."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._program, self._folder = node_program("codex"), folder / "work"
        self._env = clean_env(folder / "home", AIBRIDGE_API_KEY="any")
        self._folder.mkdir(exist_ok=True)
        settings = folder / "home" / ".codex" / "config.toml"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(readme_configuration().replace(README_URL, base_url))

    def run(self, prompt: str, *options: str, status: int = 0) -> list[Json]:
        """Its events for a prompt; `options` go before it."""
        command: list[str | Path] = [
            self._program,
            "exec",
            "--skip-git-repo-check",
            "--json",
            *options,
            prompt,
        ]
        ended = run(command, self._folder, self._env, seconds=90)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    def resume(self, prompt: str) -> list[Json]:
        """Its events for the next words in the last conversation."""
        return self.run(prompt, "resume", "--last")


def readme_configuration() -> str:
    """The `config.toml` of the README."""
    found = re.search(r"```toml\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert found, "the README has a section on Codex"
    return found[1]


def _items(events: list[Json], kind: str) -> list[Json]:
    done = (event["item"] for event in events if event["type"] == "item.completed")
    return [item for item in done if item["type"] == kind]


def _texts(events: list[Json]) -> list[str]:
    return [item["text"] for item in _items(events, "agent_message")]


def _failure(events: list[Json]) -> str:
    assert events[-1]["type"] == "turn.failed", events
    message: str = events[-1]["error"]["message"]
    return message


def _said(model: Model) -> list[list[Json]]:
    """What each request told the model, in the form of its API; all were accepted."""
    assert {each.status for each in model.asked} == {200}
    return [each.body.get("input") or each.body["messages"] for each in model.asked]


@pytest.fixture(scope="module", params=["responses", "chat_completions"])
def upstream(request: pytest.FixtureRequest) -> str:
    """The one API that the upstream speaks."""
    return str(request.param)


@pytest.fixture(scope="module")
def codex_bridge(
    upstream: str, shared_model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridge]:
    config = {
        "upstreams": {
            "scripted": {
                "base_url": shared_model.base_url,
                "apis": [upstream],
                "retries": 0,
                "breaker": "off",
            }
        },
        "bridge": {"heartbeat": "300ms"},
        "mcp_servers": {
            "demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]},
            "time": {"command": str(python_program("mcp-server-time")), "args": ["--local-timezone", "UTC"]},
        },
    }
    with Bridge(tmp_path_factory.mktemp("codex"), config) as bridge:
        yield bridge


@pytest.fixture
def codex(codex_bridge: Bridge, model: Model, tmp_path: Path) -> Callable[[], Codex]:
    """How a test starts it; the model's log is empty."""
    return lambda: Codex(tmp_path, codex_bridge.base_url)


def test_codex_gets_a_text(codex: Callable[[], Codex], codex_bridge: Bridge) -> None:
    events = codex().run("say Hello, you.")
    assert _texts(events) == ["Hello, you."]
    record = codex_bridge.ended()
    assert (record["client"], record["api"], record["status"]) == ("codex", "responses", "completed")
    assert record["session_id"] == events[0]["thread_id"]
    assert record["injected_tools"] > 0


def test_codex_finds_its_model_in_the_list(
    codex: Callable[[], Codex], codex_bridge: Bridge, model: Model
) -> None:
    unknown = "Model metadata for"
    assert unknown in json.dumps(codex().run("say Hello.", "-m", "scripted-1"))
    catalog = f"model_providers.aibridge.model_catalog_url='{codex_bridge.base_url}/models'"
    discovery = ("-m", "scripted-1", "-c", catalog, "-c", "features.api_key_model_discovery=true")
    events = codex().run("say Hello.", *discovery)
    assert _texts(events) == ["Hello."]
    assert unknown not in json.dumps(events)
    assert "You are a coding agent" in json.dumps(_said(model)[-1])


def test_codex_gets_an_answer_made_with_a_tool_of_a_real_mcp_server(
    codex: Callable[[], Codex], model: Model
) -> None:
    wanted = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    events = codex().run(f"say I look. and call convert_time {json.dumps(wanted)}")
    first, answer = _texts(events)
    assert first == "I look."
    assert "convert_time answered:" in answer
    assert "T21:00:00+09:00" in answer
    assert "time__" not in json.dumps(events)
    assert [each.round for each in model.asked] == [1, 2]
    assert_each_begins_with_the_one_before(_said(model))


def test_codex_runs_its_own_shell(codex: Callable[[], Codex]) -> None:
    events = codex().run(ECHO)
    assert [item["aggregated_output"] for item in _items(events, "command_execution")] == ["hi\n"]
    assert _texts(events)[-1].startswith("exec_command answered:")


def test_codex_and_aibridge_run_calls_of_the_same_turn_and_remember_them(
    codex: Callable[[], Codex], codex_bridge: Bridge, model: Model
) -> None:
    agent = codex()
    mixed = f'{ECHO} and call weather {{"city":"Oslo"}}'
    events = agent.run(opening(f"say First. and {ADD} then say Second. and {mixed}"))
    assert [item["aggregated_output"] for item in _items(events, "command_execution")] == ["hi\n"]
    answer = _texts(events)[-1]
    assert answer.startswith("add answered: 3\nexec_command answered:")
    assert "weather answered: rain, -4 °C in Oslo" in answer
    assert _texts(agent.resume("say Bye.")) == ["Bye."]
    assert "demo__" not in json.dumps(events)
    said = _said(model)
    assert [each.round for each in model.asked] == [1, 2, 3, 1]
    assert_each_begins_with_the_one_before(said)
    assert codex_bridge.ended()["recalled_turns"] == 2


def test_codex_shows_an_upstreams_429(codex: Callable[[], Codex], model: Model) -> None:
    events = codex().run("fail 429", *NO_RETRIES, status=1)
    assert "429" in _failure(events)
    assert [each.status for each in model.asked] == [429]


def test_codex_asks_again_after_a_429_that_says_when(codex: Callable[[], Codex], model: Model) -> None:
    assert _texts(codex().run(opening("fail 429 once and say Better."))) == ["Better."]
    assert [each.status for each in model.asked] == [429, 200]


def test_codex_is_told_that_a_stream_was_cut(codex: Callable[[], Codex], model: Model) -> None:
    events = codex().run("count 20 and break", *NO_RETRIES, status=1)
    assert "broke the connection" in _failure(events)
    assert len(model.asked) == 1


@pytest.mark.parametrize("fault", ["fail 429", "count 20 and break", "count 20 and error mid-stream"])
def test_codex_does_not_have_tools_run_again_after_a_fault(
    codex: Callable[[], Codex], model: Model, fault: str
) -> None:
    codex().run(opening(f"{ADD} then {fault}"), status=1)
    assert [each.round for each in model.asked] == [1, 2]


def test_codex_waits_for_a_tool_that_takes_longer_than_its_patience(
    codex: Callable[[], Codex], model: Model
) -> None:
    impatient = ("-c", "model_providers.aibridge.stream_idle_timeout_ms=2500", *NO_RETRIES)
    assert _texts(codex().run('call slow {"seconds":3}', *impatient)) == ["slow answered: waited 3 s"]
    assert [each.round for each in model.asked] == [1, 2]
