"""What a key allows: models, tools, injection, and which texts are kept."""

import json
from typing import Any

import pytest

from tests.support.bridged import Bridged
from tests.support.keys import bearer, make_key
from tests.support.raw import JSON_TYPE, RawUpstream, ask, send

Json = dict[str, Any]


def _tools(upstream: RawUpstream) -> list[str]:
    """The tools that the last request upstream had."""
    return [tool["function"]["name"] for tool in upstream.heard[-1].json.get("tools", [])]


def _get(bridge: Bridged, path: str, key: Json) -> Any:
    return send(bridge.port, method="GET", path=path, headers=[bearer(key)]).json


def test_a_model_that_the_key_does_not_allow_is_refused(bridge: Bridged, upstream: RawUpstream) -> None:
    key = make_key(bridge.port, models=["m-2"])
    got = ask(bridge.port, [bearer(key)], model="m-1")
    assert (got.status, got.error["code"]) == (403, "model_not_allowed")
    assert ask(bridge.port, [bearer(key)], model="m-2").status == 200
    assert [heard.json["model"] for heard in upstream.heard] == ["m-2"]


@pytest.mark.parametrize("allowed", ["fast", "m-1", "m-*"])
def test_an_alias_is_allowed_by_its_own_name_and_by_its_models(bridge: Bridged, allowed: str) -> None:
    key = make_key(bridge.port, models=[allowed])
    assert ask(bridge.port, [bearer(key)], model="fast").status == 200


def test_passed_through_requests_keep_to_the_models_too(bridge: Bridged, upstream: RawUpstream) -> None:
    key = make_key(bridge.port, models=["m-2"])
    for body, media in ((b'{"model": "m-1"}', "application/json"), (b'{"file": 1}', "application/json")):
        got = send(bridge.port, body, [("content-type", media), bearer(key)], path="/v1/embeddings")
        assert (got.status, got.error["code"]) == (403, "model_not_allowed")
    got = send(bridge.port, b"model=m-1", [("content-type", "text/plain"), bearer(key)], path="/v1/audio/x")
    assert got.status == 403
    assert upstream.heard == []
    got = send(bridge.port, b'{"model": "m-2"}', [JSON_TYPE, bearer(key)], path="/v1/embeddings")
    assert got.status == 200


@pytest.mark.parametrize(
    ("allowed", "listed"), [("m-*", ["m-1", "m-2", "fast"]), ("fast", ["fast"]), ("m-2", ["m-2"])]
)
def test_the_list_of_models_is_what_the_key_may_ask_for(
    bridge: Bridged, allowed: str, listed: list[str]
) -> None:
    key = make_key(bridge.port, models=[allowed])
    assert [model["id"] for model in _get(bridge, "/v1/models", key)["data"]] == listed


def test_what_the_key_does_not_allow_is_not_told_by_another_path_either(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    key = make_key(bridge.port, models=["m-1"])
    for path in (
        "/v1/models/m-2",
        "/up/v1/models",
        "/up/models/",
        "/up/v1/models/m-2",
        "/v1/models/%00",
        "/v1/x/../models",
    ):
        got = send(bridge.port, method="GET", path=path, headers=[bearer(key)])
        assert got.status in (400, 403), path
    for path in ("/v1//models", "/v1/%6Dodels/m-2", "/up/v1/models", "/v1/models/m-2"):
        got = send(bridge.port, b'{"model": "m-1"}', [JSON_TYPE, bearer(key)], method="GET", path=path)
        assert got.status == 403, path
    assert upstream.heard == []
    assert send(bridge.port, method="GET", path="/v1/models/m-1", headers=[bearer(key)]).status == 200
    assert send(bridge.port, method="GET", path="/v1/models/", headers=[bearer(key)]).status == 307


def test_the_key_narrows_the_tools_and_the_header_narrows_them_further(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    key = make_key(bridge.port, tools=["demo__add", "demo__n*"])
    for header, names in (
        (None, ["demo__add", "demo__now"]),
        ("demo", ["demo__add", "demo__now"]),
        ("demo__add, demo__slow", ["demo__add"]),
        ("demo__slow", []),
        ("off", []),
    ):
        headers = [bearer(key), *([("x-aibridge-tools", header)] if header else [])]
        assert ask(bridge.port, headers).status == 200
        assert _tools(upstream) == names, header
    assert [tool["name"] for tool in _get(bridge, "/v1/tools", key)["data"]] == ["demo__add", "demo__now"]
    explained = _get(bridge, "/v1/tools?explain=1", key)["data"]
    assert {tool["tool"] for tool in explained} == {"add", "now"}


def test_a_key_without_injection_gets_no_tools_whatever_it_asks(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    key = make_key(bridge.port, inject=False)
    assert ask(bridge.port, [bearer(key), ("x-aibridge-tools", "on")]).status == 200
    assert _tools(upstream) == []


def test_mcp_clients_see_and_call_only_the_keys_tools(bridge: Bridged) -> None:
    key = make_key(bridge.port, tools=["demo__add"])

    def rpc(method: str, **params: Any) -> Json:
        headers = [JSON_TYPE, ("accept", "application/json, text/event-stream"), bearer(key)]
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        got = send(bridge.port, json.dumps(body).encode(), headers, path="/mcp")
        assert got.status == 200, got.body
        data = [line[5:] for line in got.body.splitlines() if line.startswith(b"data:")]
        told: Json = json.loads(data[-1] if data else got.body)
        return told

    assert [tool["name"] for tool in rpc("tools/list")["result"]["tools"]] == ["demo__add"]
    assert "There is no tool" in str(rpc("tools/call", name="demo__now", arguments={}))
    assert "isError': True" not in str(rpc("tools/call", name="demo__add", arguments={"a": 1, "b": 2}))


def test_a_key_says_which_texts_are_kept(bridge: Bridged) -> None:
    quiet, plain = make_key(bridge.port, prompts=False), make_key(bridge.port)
    said = {"messages": [{"role": "user", "content": "a word for one alone"}]}
    before = len(bridge.rows("prompts"))
    assert ask(bridge.port, [bearer(quiet)], **said).status == 200
    bridge.ended()
    assert len(bridge.rows("prompts")) == before
    assert ask(bridge.port, [bearer(plain)], **said).status == 200
    bridge.ended()
    assert len(bridge.rows("prompts")) == before + 1
