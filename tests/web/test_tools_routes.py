"""`GET /v1/tools`: what a request would get, what it would not and why, and how the servers are."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import RawUpstream

DEAD = {"command": "/no/such/program"}


@pytest.fixture(scope="module")
def tooled(shared_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    folder = tmp_path_factory.mktemp("tooled")
    servers = {"demo": {"command": "unused", "deny": ["fail"]}, "dead": DEAD}
    config = configuration(folder, shared_upstream.base_url, mcp_servers=servers)
    with bridged(folder, config, {"demo": create_server()}, awaited=("demo",)) as bridge:
        yield bridge


def _get(bridge: Bridged, path: str, **headers: str) -> Any:
    request = urllib.request.Request(f"{bridge.url}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.parametrize("path", ["/v1/tools", "/tools"])
def test_the_tools_and_servers_are_listed(tooled: Bridged, path: str) -> None:
    told = _get(tooled, path)
    assert [each["name"] for each in told["data"]] == [
        "demo__add",
        "demo__now",
        "demo__slow",
        "demo__weather",
    ]
    assert told["data"][0]["input_schema"]["required"] == ["a", "b"]
    assert told["unavailable"] == ["dead"]
    servers = told["servers"]
    assert (servers["demo"]["state"], servers["demo"]["tools"]) == ("connected", 4)
    assert servers["dead"]["error"].startswith("There is no program")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("off", []),
        ("demo__a*", ["demo__add"]),
        ("dead", []),
        ("demo__add, demo__now", ["demo__add", "demo__now"]),
    ],
)
def test_the_header_narrows_the_list(tooled: Bridged, wanted: str, names: list[str]) -> None:
    told = _get(tooled, "/v1/tools", **{"x-aibridge-tools": wanted})
    assert [each["name"] for each in told["data"]] == names


def test_every_tool_is_explained(tooled: Bridged) -> None:
    told = _get(tooled, "/v1/tools?explain=1", **{"x-aibridge-tools": "demo__add"})
    by_tool = {each["tool"]: each for each in told["data"]}
    assert (by_tool["add"]["name"], by_tool["add"]["reason"]) == ("demo__add", None)
    assert by_tool["now"]["reason"] == "it was not asked for"
    assert by_tool["fail"]["reason"] == "`deny` holds 'fail'"
    assert told["tokens"] == by_tool["add"]["tokens"] > 0


def test_where_nothing_is_injected_the_reason_is_that(tooled: Bridged) -> None:
    told = _get(tooled, "/v1/tools?explain=1", **{"x-aibridge-tools": "off"})
    reasons = {each["tool"]: each["reason"] for each in told["data"]}
    assert reasons["add"] == "injection is off for this request"
    assert reasons["fail"] == "`deny` holds 'fail'"
    assert told["tokens"] == 0


def test_others_are_not_told_how_servers_fail(tooled: Bridged) -> None:
    told = _get(tooled, "/v1/tools", **{"x-forwarded-for": "192.0.2.1"})
    assert told["servers"]["dead"] == {"state": "unavailable", "tools": 0}


def test_a_server_that_must_not_be_away_is_told(tmp_path: Path, upstream: RawUpstream) -> None:
    servers = {"dead": {**DEAD, "on_unavailable": "fail"}}
    config = configuration(tmp_path, upstream.base_url, mcp_servers=servers, bridge={"inject": False})
    with bridged(tmp_path, config, {"demo": create_server()}, awaited=("demo",)) as bridge:
        told = _get(bridge, "/v1/tools?explain=1", **{"x-aibridge-tools": "on"})
        assert "not available: dead" in told["refused"]
        assert {each["name"] for each in told["data"]} == {None}
        assert all("not available: dead" in each["reason"] for each in told["data"])
        told = _get(bridge, "/v1/tools?explain=1")
        assert {each["reason"] for each in told["data"]} == {"injection is off for this request"}
