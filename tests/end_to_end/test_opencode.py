"""opencode, a coding agent: its own tools and the injected ones in the same run."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aibridge.demo.answering import Asked
from tests.end_to_end.asking import Json
from tests.end_to_end.conversations import sum_of
from tests.end_to_end.talking import assert_each_begins_with_the_one_before, assert_whole, messages_of
from tests.support.bridge import Bridge
from tests.support.clients import http_client
from tests.support.environment import clean_env, free_port, node_program
from tests.support.processes import run, running
from tests.support.serving import Model

CONTEXT, OUTPUT = 40_000, 4_000
"""opencode's limits: it compacts what was said once an answer's usage leaves no room for an output."""
EIGHT_HIDDEN_ROUNDS = " then ".join(f'call add {{"a":{number},"b":{number}}}' for number in range(1, 9))


class Opencode:
    """opencode's server in an empty home and folder, where conversations are held."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self._url = folder, url

    def begin(self, provider: str = "bridge") -> Callable[[str], list[Json]]:
        """A new conversation: what comes of the next words, as parts of messages."""
        session = self._ask("POST", "/session", {"title": "t"})["id"]
        heard = 0

        def say(prompt: str) -> list[Json]:
            nonlocal heard
            model = {"providerID": provider, "modelID": "scripted-1"}
            parts = [{"type": "text", "text": prompt}]
            self._ask("POST", f"/session/{session}/message", {"model": model, "parts": parts})
            told = self._ask("GET", f"/session/{session}/message")
            new, heard = told[heard:], len(told)
            return [part for each in new if each["info"]["role"] == "assistant" for part in each["parts"]]

        return say

    def _ask(self, method: str, path: str, body: Json | None = None) -> Any:
        with http_client(base_url=self._url, timeout=90) as client:
            answer = client.request(method, path, json=body, params={"directory": str(self.folder)})
        assert answer.status_code == 200, answer.text
        return answer.json()


def _config(base_url: str) -> str:
    """Two providers: as users have it, and one that asks for the sum of all rounds' usage."""
    limit = {"context": CONTEXT, "output": OUTPUT}

    def provider(headers: Json) -> Json:
        return {
            "npm": "@ai-sdk/openai-compatible",
            "name": "bridge",
            "options": {"baseURL": base_url, "apiKey": "dummy", "headers": headers},
            "models": {"scripted-1": {"name": "scripted-1", "tool_call": True, "limit": limit}},
        }

    names = {"model": "bridge/scripted-1", "small_model": "bridge/scripted-1"}
    providers = {"bridge": provider({}), "summed": provider({"x-aibridge-usage": "sum"})}
    return json.dumps({**names, "autoupdate": False, "share": "disabled", "provider": providers})


def _env(folder: Path) -> dict[str, str]:
    return clean_env(folder / "home", OPENCODE_DISABLE_MODELS_FETCH="1", OPENCODE_DISABLE_AUTOUPDATE="1")


@pytest.fixture(scope="module")
def opencode(shared_bridge: Bridge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opencode]:
    folder, port = tmp_path_factory.mktemp("opencode"), free_port()
    (folder / "opencode.json").write_text(_config(shared_bridge.base_url))
    command = (node_program("opencode"), "serve", "--hostname", "127.0.0.1", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    with running(command, folder, _env(folder), f"{url}/config", "opencode"):
        yield Opencode(folder, url)


def _texts(parts: list[Json]) -> str:
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def _tools(parts: list[Json]) -> list[str]:
    return [part["tool"] for part in parts if part["type"] == "tool"]


def _summarises(asked: Asked) -> bool:
    """opencode asks for a summary of what was said without offering its own tools."""
    return "bash" not in [tool["function"]["name"] for tool in asked.body.get("tools") or ()]


def test_opencode_runs_its_own_tool(bridge: Bridge, tmp_path: Path) -> None:
    """By its command, as users start it."""
    (tmp_path / "opencode.json").write_text(_config(bridge.base_url))
    words = ("--title", "t", "--format", "json", 'call bash {"command":"echo hi","description":"d"}')
    ended = run((node_program("opencode"), "run", *words), tmp_path, _env(tmp_path), seconds=110)
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    parts = [event["part"] for event in events if event["type"] in ("text", "tool_use")]
    assert _tools(parts) == ["bash"]
    assert "bash answered: hi" in _texts(parts)
    record = bridge.ended()
    assert record["client"] == "opencode", "it is recognised"
    assert record["session_id"].startswith("ses_")


def test_opencode_gets_an_answer_made_with_an_injected_tool(
    opencode: Opencode, bridge: Bridge, model: Model
) -> None:
    parts = opencode.begin()('say I add. call add {"a":1,"b":2}')
    assert _tools(parts) == []
    assert "I add.\n\nadd answered: 3" in _texts(parts)
    assert "demo__" not in json.dumps(parts)
    assert [each.round for each in model.asked] == [1, 2]


def test_opencode_and_aibridge_run_calls_of_the_same_turn_and_remember_them(
    opencode: Opencode, bridge: Bridge, model: Model
) -> None:
    bash = 'call bash {"command":"echo hi","description":"d"}'
    hidden, mixed = 'call add {"a":1,"b":2}', f'{bash} and call weather {{"city":"Oslo"}}'
    say = opencode.begin()
    parts = say(f"say First. and {hidden} then say Second. and {mixed}")
    assert _tools(parts) == ["bash"]
    assert _texts(parts).startswith("First.\n\nSecond.\nadd answered: 3\nbash answered: hi")
    assert "weather answered: rain, -4 °C in Oslo" in _texts(parts)
    assert "demo__" not in json.dumps(parts)
    assert _texts(say("say Bye.")) == "Bye."
    asked = messages_of(model)
    assert_whole(asked[2], ("bash", "hi"), ("weather", "rain, -4 °C in Oslo"))
    assert [said["content"] for said in asked[3] if said["role"] == "assistant"][:2] == ["First.", "Second."]
    assert_each_begins_with_the_one_before(asked)


def test_many_hidden_rounds_do_not_make_opencode_forget(
    opencode: Opencode, bridge: Bridge, model: Model
) -> None:
    say = opencode.begin()
    assert "add answered: 16" in _texts(say(EIGHT_HIDDEN_ROUNDS))
    assert _texts(say("say Bye.")) == "Bye."
    assert [each.round for each in model.asked] == [*range(1, 10), 1]
    assert sum_of(model)["total_tokens"] > CONTEXT - OUTPUT
    assert not any(_summarises(each) for each in model.asked)


def test_opencode_would_forget_if_it_were_shown_the_sum(
    opencode: Opencode, bridge: Bridge, model: Model
) -> None:
    opencode.begin("summed")(EIGHT_HIDDEN_ROUNDS)
    assert any(_summarises(each) for each in model.asked)
