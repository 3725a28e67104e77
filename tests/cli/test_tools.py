"""`aibridge tools`: what is injected and what is not, and taking what changed."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from aibridge.config import Records
from aibridge.records.store import Store
from aibridge.records.tables import tool_pins
from tests.support.environment import clean_env
from tests.support.processes import run

COMMAND = (sys.executable, "-W", "error", "-m", "aibridge.cli", "tools")
DEMO = {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"], "pin": "block"}


def _tools(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run((*COMMAND, *arguments), folder, clean_env(folder / "home", COLUMNS="200"))


def _configured(folder: Path, **servers: Any) -> None:
    config = {"upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}}, "mcp_servers": servers}
    (folder / "aibridge.yaml").write_text(yaml.safe_dump(config))


def test_only_what_is_injected_is_shown_where_that_is_wanted(tmp_path: Path) -> None:
    _configured(tmp_path, demo={**DEMO, "deny": ["fail"]})
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


def test_a_tool_that_changed_is_told_and_accepted(tmp_path: Path) -> None:
    _configured(tmp_path, demo=DEMO)
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
