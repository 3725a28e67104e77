"""`aibridge tools`: what is injected and what is not, and taking what changed."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from aibridge.config import Records
from aibridge.demo.tools import create_server
from aibridge.records.store import Store
from aibridge.records.tables import tool_pins
from tests.support.commanding import Ran, command
from tests.support.serving import serving

Json = dict[str, Any]


@pytest.fixture(scope="module")
def demo() -> Iterator[Json]:
    """The demo's tools behind a socket of this process: to connect costs nothing, however often."""
    with serving(create_server().streamable_http_app()) as served:
        yield {"url": f"{served.url}/mcp", "pin": "block"}


def _tools(folder: Path, *arguments: str) -> Ran:
    return command(folder, "tools", *arguments, COLUMNS="200")


def _configured(folder: Path, **servers: Any) -> None:
    config = {"upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}}, "mcp_servers": servers}
    (folder / "aibridge.yaml").write_text(yaml.safe_dump(config))


def test_only_what_is_injected_is_shown_where_that_is_wanted(tmp_path: Path, demo: Json) -> None:
    _configured(tmp_path, demo={**demo, "deny": ["fail"]})
    told = json.loads(_tools(tmp_path, "--injected", "--format", "json").stdout)
    assert {each["tool"] for each in told} == {"add", "now", "slow", "weather"}
    assert all(each["name"] and each["tokens"] for each in told)
    told = json.loads(_tools(tmp_path, "--explain", "--format", "json").stdout)
    assert [each["reason"] for each in told if each["tool"] == "fail"] == ["`deny` holds 'fail'"]
    assert "4 tools, about " in _tools(tmp_path).stdout


def _audited(folder: Path) -> list[tuple[str, ...]]:
    """The tools that the rows of the audit name, the oldest row first."""
    with closing(sqlite3.connect(folder / "aibridge.db")) as database:
        rows = database.execute("SELECT actor, detail FROM audit WHERE action = 'tools.accept' ORDER BY id")
        found = [(actor, json.loads(detail)["accepted"]) for actor, detail in rows]
    assert all(actor.endswith(" (command line)") for actor, _ in found)
    return [tuple(line.split()[1].rstrip(":") for line in lines) for _, lines in found]


def test_a_tool_that_changed_is_told_and_accepted(tmp_path: Path, demo: Json) -> None:
    _configured(tmp_path, demo=demo)
    store = Store(Records(url=f"sqlite:///{tmp_path / 'aibridge.db'}").url)
    store.open()
    assert _tools(tmp_path).returncode == 0  # seen for the first time
    with store.writing() as connection:
        pinned = tool_pins.update().where(tool_pins.c.tool.in_(["add", "now"]))
        connection.execute(pinned.values(definition='{"description": "before"}'))
    store.close()
    told = json.loads(_tools(tmp_path, "--format", "json").stdout)
    changed = [each["reason"] for each in told if each["changed"]]
    assert len(changed) == 2 and all("`aibridge tools accept`" in reason for reason in changed)
    assert "3 tools, about " in _tools(tmp_path).stdout
    assert _tools(tmp_path, "accept", "demo__add").stdout.startswith("accepted demo__add: its description")
    assert _tools(tmp_path, "accept").stdout.startswith("accepted demo__now: ")
    assert _tools(tmp_path, "accept", "demo").stdout == "nothing has changed\n"
    assert "5 tools, about " in _tools(tmp_path).stdout
    assert _audited(tmp_path) == [("demo__add",), ("demo__now",)], "each who accepted something"
    refused = _tools(tmp_path, "accept", "other")
    assert (refused.returncode, "no MCP server named 'other'" in refused.stderr) == (1, True)
