"""MCP servers that others wrote, in Python and in Node, over stdio and over HTTP, behind one bridge."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.asking import Json
from tests.support.bridge import Bridge
from tests.support.environment import clean_env, free_port, node_program, python_program
from tests.support.processes import running
from tests.support.raw import ask
from tests.support.serving import Model

LONG = 'call everything__trigger-long-running-operation {"duration":1,"steps":2}'


@pytest.fixture(scope="module")
def everything_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("everything"), free_port()
    command = (node_program("mcp-server-everything"), "streamableHttp")
    url = f"http://127.0.0.1:{port}/mcp"
    with running(command, folder, clean_env(folder / "home", PORT=str(port)), url):
        yield url


@pytest.fixture(scope="module")
def shared_many(
    shared_model: Model, everything_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridge]:
    zone = ["--local-timezone", "UTC"]
    config = {
        "upstreams": {"scripted": {"base_url": shared_model.base_url}},
        "mcp_servers": {
            "time": {"command": str(python_program("mcp-server-time")), "args": zone},
            "everything": {"command": str(node_program("mcp-server-everything")), "args": ["stdio"]},
            "remote": {"url": everything_url, "deny": ["get-env"]},
        },
        "records": {"results": True},
    }
    with Bridge(tmp_path_factory.mktemp("many"), config) as bridge:
        yield bridge


@pytest.fixture
def many(model: Model, shared_many: Bridge) -> Bridge:
    """A bridge with three MCP servers; the model's log is empty."""
    return shared_many


def _ask(bridge: Bridge, said: str) -> tuple[str, str]:
    """The answer's text and the exchange's id."""
    answer = ask(bridge.port, model="scripted-1", messages=[{"role": "user", "content": said}])
    assert answer.status == 200, answer.body
    text: str = answer.json["choices"][0]["message"]["content"]
    return text, answer.header("x-aibridge-exchange-id") or ""


def test_the_tools_of_all_servers_are_offered_sorted_and_whole(many: Bridge, model: Model) -> None:
    _ask(many, "hello")
    tools = [tool["function"] for tool in model.asked[0].body["tools"]]
    names = [tool["name"] for tool in tools]
    assert names == sorted(names)
    assert {"time__get_current_time", "everything__echo", "everything__get-env", "remote__echo"} <= set(names)
    assert "remote__get-env" not in names
    convert = tools[names.index("time__convert_time")]
    assert convert["description"]
    assert set(convert["parameters"]["required"]) == {"source_timezone", "time", "target_timezone"}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ('everything__echo {"message":"hi"}', "echo answered: Echo: hi"),
        ('remote__get-sum {"a":2,"b":3}', "The sum of 2 and 3 is 5"),
        ('time__get_current_time {"timezone":"UTC"}', '"timezone": "UTC"'),
        ("everything__get-tiny-image", "image"),
        ('time__get_current_time {"timezone":"Nowhere"}', "Error"),
    ],
)
def test_a_tool_is_called(many: Bridge, call: str, answer: str) -> None:
    text, _ = _ask(many, f"call {call}")
    assert answer in text


def test_one_turn_may_call_tools_of_every_server(many: Bridge) -> None:
    text, exchange = _ask(
        many,
        'call everything__echo {"message":"a"} and call remote__echo {"message":"b"} '
        'and call get_current_time {"timezone":"UTC"}',
    )
    assert "Echo: a" in text
    assert "Echo: b" in text
    many.ended(exchange)
    calls = many.rows("tool_calls", exchange)
    assert {call["server"] for call in calls} == {"everything", "remote", "time"}
    assert {call["status"] for call in calls} == {"ok"}


def test_slow_calls_of_one_turn_run_side_by_side(many: Bridge) -> None:
    text, exchange = _ask(many, f"{LONG} and {LONG.replace('everything__', 'remote__')} and {LONG}")
    assert text.count("Long running operation completed") == 3
    many.ended(exchange)
    spans = [_span(call) for call in many.rows("tool_calls", exchange)]
    assert all(end - begin >= timedelta(seconds=1) for begin, end in spans)
    assert max(begin for begin, _ in spans) < min(end for _, end in spans)


def _span(call: Json) -> tuple[datetime, datetime]:
    begin = datetime.fromisoformat(call["started_at"])
    return begin, begin + timedelta(milliseconds=call["duration_ms"])


def test_a_server_that_cannot_start_does_no_harm(model: Model, tmp_path: Path) -> None:
    config = {
        "upstreams": {"scripted": {"base_url": model.base_url}},
        "mcp_servers": {"broken": {"command": str(tmp_path / "nothing-here")}},
    }
    with Bridge(tmp_path, config, connected=()) as bridge:
        text, _ = _ask(bridge, "say hello")
        assert text == "hello"
        assert bridge.readiness()["mcp_servers"]["broken"]["state"] != "connected"
