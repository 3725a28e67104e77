"""`/mcp` with clients that others wrote: the MCP inspector and Claude Code, whose model is passed through."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.talking import PROJECT
from tests.support.anthropic import create_app
from tests.support.bridge import Bridge, Json
from tests.support.environment import clean_env, node_program
from tests.support.processes import run
from tests.support.serving import Served, serving
from tests.support.waiting import eventually

ADD = "demo__add"
LOCAL = "http://127.0.0.1:4180"
"""Where the README says that the bridge is."""


@pytest.fixture(scope="module")
def anthropic() -> Iterator[Served]:
    with serving(create_app(ADD, {"a": 20, "b": 22})) as served:
        yield served


@pytest.fixture(scope="module")
def bridge(anthropic: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    config = {
        "upstreams": {"anthropic": {"base_url": anthropic.base_url}},
        "mcp_servers": {"demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}},
    }
    with Bridge(tmp_path_factory.mktemp("mcp-clients"), config) as running:
        yield running


def inspect(bridge: Bridge, *arguments: str) -> str:
    program = node_program("mcp-inspector")
    command: list[str | Path] = [program, "--cli", f"{bridge.url}/mcp", "--transport", "http", *arguments]
    done = run(command, bridge.folder, clean_env(bridge.folder / "home"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_inspector_lists_the_tools(bridge: Bridge) -> None:
    listed = json.loads(inspect(bridge, "--method", "tools/list"))
    assert [tool["name"] for tool in listed["tools"]][:2] == [ADD, "demo__fail"]


def test_the_inspector_calls_a_tool(bridge: Bridge) -> None:
    told = inspect(
        bridge, "--method", "tools/call", "--tool-name", ADD, "--tool-arg", "a=2", "--tool-arg", "b=3"
    )
    assert json.loads(told)["content"] == [{"type": "text", "text": "5"}]


def _claude_env(bridge: Bridge, folder: Path, key: str) -> dict[str, str]:
    return clean_env(
        folder / "home",
        ANTHROPIC_BASE_URL=bridge.url,
        ANTHROPIC_API_KEY=key,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        CLAUDE_CODE_MAX_RETRIES="1",
    )


def test_claude_code_shows_why_it_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    env = _claude_env(bridge, tmp_path, "sk-aib-unknown")
    done = run([node_program("claude"), "-p", "hi", "--model", "mock-1"], tmp_path, env)
    assert done.returncode == 1
    assert "API Error: 401 this aibridge key is unknown" in done.stdout


def test_claude_code_uses_a_tool_and_a_model_behind_the_bridge(bridge: Bridge, tmp_path: Path) -> None:
    env = _claude_env(bridge, tmp_path, "dummy")
    [add] = re.findall(r"`claude (mcp add [^`]+)`", (PROJECT / "README.md").read_text())
    added = run([node_program("claude"), *add.replace(LOCAL, bridge.url).split()], tmp_path, env)
    assert added.returncode == 0, added.stderr
    options = ["--model", "mock-1", "--allowedTools", f"mcp__aibridge__{ADD}"]
    done = run([node_program("claude"), "-p", "add 20 and 22", *options], tmp_path, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The tool said: 42" in done.stdout

    def called() -> list[Json]:
        return [row for row in bridge.rows("tool_calls") if row["arguments"] == '{"a": 20, "b": 22}']

    def passed() -> list[Json]:
        return [row for row in bridge.rows("exchanges") if row["model"] == "mock-1" and row["ended_at"]]

    eventually(lambda: called() and len(passed()) > 1, what="the records")
    assert [(row["server"], row["tool"], row["status"]) for row in called()] == [("demo", "add", "ok")]
    assert {(row["api"], row["path"], row["client"], row["status"]) for row in passed()} == {
        ("passthrough", "/v1/messages", "claude-code", "completed")
    }
