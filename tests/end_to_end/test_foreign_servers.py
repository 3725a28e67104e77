"""MCP servers that others wrote: listed and called through the bridge by the scripted model."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.support.bridge import Bridge, Json
from tests.support.environment import node_program, python_program, server_program
from tests.support.raw import ask
from tests.support.serving import Model, serving
from tests.support.waiting import eventually

PAGE = "<html><body><h1>Timetable</h1><p>The ferry leaves at noon.</p></body></html>"


async def _page(request: Request) -> HTMLResponse:
    return HTMLResponse(PAGE)


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with serving(Starlette(routes=[Route("/timetable", _page)])) as served:
        yield f"{served.url}/timetable"


def _repository(folder: Path) -> Path:
    """A repository with one commit."""
    folder.mkdir()
    (folder / "notes.txt").write_text("first\n")
    name = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")
    for step in (("init", "-q"), ("add", "."), (*name, "commit", "-q", "-m", "The first commit")):
        subprocess.run(("git", "-C", str(folder), *step), check=True)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Json:
    """All of them, each with a place of its own."""
    shelf = folder / "shelf"
    shelf.mkdir()
    (shelf / "letter.txt").write_text("Dear reader")
    fetch = ["--allow-private-ips", "--ignore-robots-txt"]
    memory = {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}

    def program(path: Path, *args: object, **more: Any) -> Json:
        return {"command": str(path), "args": [str(each) for each in args], **more}

    return {
        "time": program(python_program("mcp-server-time"), "--local-timezone", "UTC"),
        "git": program(
            server_program("servers", "mcp-server-git"), "--repository", _repository(folder / "code")
        ),
        "fetch": program(server_program("servers", "mcp-server-fetch"), *fetch),
        "sqlite": program(server_program("sqlite", "mcp-server-sqlite"), "--db-path", folder / "shop.db"),
        "everything": program(node_program("mcp-server-everything"), "stdio"),
        "filesystem": program(node_program("mcp-server-filesystem"), shelf),
        "memory": program(node_program("mcp-server-memory"), env=memory),
        "thinking": program(node_program("mcp-server-sequential-thinking")),
    }


@pytest.fixture(scope="module")
def foreign(shared_model: Model, servers: Json, folder: Path) -> Iterator[Bridge]:
    config = {"upstreams": {"scripted": {"base_url": shared_model.base_url}}, "mcp_servers": servers}
    with Bridge(folder, config) as bridge:
        yield bridge


@pytest.fixture
def bridge(model: Model, foreign: Bridge) -> Bridge:
    """A bridge with all the servers; the model's log is empty."""
    return foreign


def _said(bridge: Bridge, said: str) -> str:
    answer = ask(bridge.port, model="scripted-1", messages=[{"role": "user", "content": said}])
    assert answer.status == 200, answer.body
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def test_the_tools_of_all_servers_are_offered(bridge: Bridge, model: Model) -> None:
    _said(bridge, "hello")
    names = [tool["function"]["name"] for tool in model.asked[0].body["tools"]]
    counts = {server: sum(name.startswith(f"{server}__") for name in names) for server in _EXPECTED}
    assert counts == _EXPECTED
    states = bridge.readiness()["mcp_servers"]
    assert {name: state["changed_tools"] for name, state in states.items() if state["changed_tools"]} == {}


_EXPECTED = {
    "time": 2,
    "git": 12,
    "fetch": 1,
    "sqlite": 6,
    "everything": 12,
    "filesystem": 14,
    "memory": 9,
    "thinking": 1,
}
"""Tools of each server; those that can only be run as a task are left out."""


def test_time_is_told(bridge: Bridge) -> None:
    assert '"timezone": "UTC"' in _said(bridge, 'call time__get_current_time {"timezone":"UTC"}')


def test_a_repository_is_read(bridge: Bridge, folder: Path) -> None:
    where = f'{{"repo_path":"{folder / "code"}"}}'
    assert "The first commit" in _said(bridge, f"call git__git_log {where}")
    assert "nothing to commit" in _said(bridge, f"call git__git_status {where}")


def test_a_page_is_fetched(bridge: Bridge, page: str) -> None:
    assert "The ferry leaves at noon." in _said(bridge, f'call fetch__fetch {{"url":"{page}"}}')


def test_a_database_is_written_and_read(bridge: Bridge) -> None:
    _said(bridge, 'call sqlite__create_table {"query":"CREATE TABLE pets (name TEXT)"}')
    _said(bridge, 'call sqlite__write_query {"query":"INSERT INTO pets VALUES (\'Rex\')"}')
    assert "Rex" in _said(bridge, 'call sqlite__read_query {"query":"SELECT * FROM pets"}')


def test_every_kind_of_content_is_text_to_the_model(bridge: Bridge) -> None:
    assert "Echo: hi" in _said(bridge, 'call everything__echo {"message":"hi"}')
    assert "[image, image/png" in _said(bridge, "call everything__get-tiny-image {}")


def test_files_are_read_and_those_outside_are_not(bridge: Bridge, folder: Path) -> None:
    letter = folder / "shelf" / "letter.txt"
    assert "Dear reader" in _said(bridge, f'call filesystem__read_text_file {{"path":"{letter}"}}')
    refused = _said(bridge, 'call filesystem__read_text_file {"path":"/etc/hostname"}')
    assert "Error" in refused and "outside allowed directories" in refused


def test_what_is_remembered_is_found(bridge: Bridge) -> None:
    entity = '{"entities":[{"name":"Rex","entityType":"dog","observations":["barks"]}]}'
    _said(bridge, f"call memory__create_entities {entity}")
    assert "barks" in _said(bridge, 'call memory__search_nodes {"query":"Rex"}')


def test_a_thought_is_taken(bridge: Bridge) -> None:
    thought = '{"thought":"so","nextThoughtNeeded":false,"thoughtNumber":1,"totalThoughts":1}'
    assert "thoughtHistoryLength" in _said(bridge, f"call thinking__sequentialthinking {thought}")


def test_one_turn_calls_all_of_them(bridge: Bridge, folder: Path) -> None:
    text = _said(
        bridge,
        'call time__get_current_time {"timezone":"UTC"} and '
        f'call git__git_status {{"repo_path":"{folder / "code"}"}} and '
        "call sqlite__list_tables {} and "
        'call everything__echo {"message":"all"} and '
        "call filesystem__list_allowed_directories {} and "
        "call memory__read_graph {}",
    )
    assert "UTC" in text and "On branch" in text and "Echo: all" in text and "shelf" in text

    def newest() -> list[Json]:
        """The calls of the newest exchange that has any; it is written a moment after its answer."""
        calls = bridge.rows("tool_calls")
        return [call for call in calls if call["exchange_id"] == calls[-1]["exchange_id"]]

    eventually(lambda: len(newest()) == 6, what="the records of the six calls")
    assert {call["status"] for call in newest()} == {"ok"}
    assert len({call["server"] for call in newest()}) == 6
