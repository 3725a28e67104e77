"""Which requests are served where, and the one sentence that the others get."""

import json
from pathlib import Path

import pytest

from aibridge import __version__
from aibridge.app import create_app
from aibridge.bridge.bridge import Bridge
from aibridge.dialects import OPENAI
from aibridge.web.bridge_routes import BridgeRoute
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.doors import door_without_keys
from tests.support.environment import free_port
from tests.support.raw import JSON_TYPE, RawUpstream, Talk, ask, send
from tests.support.serving import serving

OUR_KEY = "sk-aib-0123456789abcdef"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_the_bridge_is_served_with_and_without_v1(bridge: Bridged, upstream: RawUpstream, path: str) -> None:
    got = send(bridge.port, b'{"model": "m-1", "messages": []}', path=path)
    assert (got.status, got.json["choices"][0]["message"]["content"]) == (200, "Hello")
    assert upstream.heard[0].line == "POST /v1/chat/completions HTTP/1.1"


def test_every_answer_names_its_exchange_and_its_upstream(bridge: Bridged) -> None:
    got = ask(bridge.port)
    assert got.header("x-aibridge-upstream") == "up"
    assert got.header("x-aibridge-exchange-id") == bridge.ended()["id"]


def test_a_wrong_method_is_refused(bridge: Bridged) -> None:
    got = send(bridge.port, method="POST", path="/healthz")
    assert (got.status, got.error["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/nowhere", "/", "/v2/chat/completions"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_route_is_not_found(bridge: Bridged, path: str, method: str) -> None:
    got = send(bridge.port, b"{}", method=method, path=path)
    assert (got.status, got.error["code"]) == (404, "not_found")
    assert path in got.error["message"]


def test_a_model_that_nobody_serves_is_not_found(bridge: Bridged, upstream: RawUpstream) -> None:
    got = ask(bridge.port, model="other")
    assert (got.status, got.error["code"], got.error["param"]) == (404, "model_not_found", "model")
    assert "'other'" in got.error["message"] and "m-*" in got.error["message"]
    assert not upstream.heard


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", f"Bearer {OUR_KEY}"),
        ("Authorization", f"bearer {OUR_KEY}"),
        ("Authorization", OUR_KEY),
        ("x-api-key", OUR_KEY),
        ("api-key", OUR_KEY),
        ("x-aibridge-key", OUR_KEY),
    ],
)
def test_a_key_of_ours_that_is_unknown_is_refused(
    bridge: Bridged, upstream: RawUpstream, header: str, value: str
) -> None:
    got = ask(bridge.port, [(header, value)])
    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    assert OUR_KEY not in got.body.decode()
    assert not upstream.heard


def test_a_key_of_ours_beside_anothers_credential_is_refused_too(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    for pairs in (
        [("Authorization", "Bearer sk-other"), ("x-aibridge-key", OUR_KEY)],
        [("Authorization", "Bearer sk-other"), ("x-api-key", OUR_KEY)],
        [("x-aibridge-key", "sk-other"), ("Authorization", f"Bearer {OUR_KEY}")],
    ):
        assert ask(bridge.port, pairs).status == 401
    assert not upstream.heard


def test_an_upstream_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    config = configuration(tmp_path, f"http://127.0.0.1:{free_port()}/v1")
    with bridged(tmp_path, config) as bridge:
        for streamed in (False, True):
            got = ask(bridge.port, stream=streamed)
            assert (got.status, got.error["code"]) == (502, "upstream_unreachable")
            assert "upstream 'up' cannot be reached" in got.error["message"]
        assert bridge.ended()["error_code"] == "upstream_unreachable"


def test_a_bug_before_the_exchange_is_told_in_the_same_shape() -> None:
    def fail() -> Bridge:
        raise RuntimeError("a bug with a secret")

    route = BridgeRoute(OPENAI, bridge=fail, door=door_without_keys(b""), max_body=99, heartbeat=9)
    with serving(route) as served:
        got = ask(served.port)
    assert (got.status, got.error["code"]) == (500, "internal_error")
    assert "secret" not in got.error["message"]


def test_healthz_lives(bridge: Bridged) -> None:
    got = send(bridge.port, method="GET", path="/healthz")
    assert (got.status, got.json) == (200, {"status": "ok"})


def test_readyz_tells_this_machine_everything(bridge: Bridged) -> None:
    ask(bridge.port)
    told = send(bridge.port, method="GET", path="/readyz")
    assert told.status == 200
    assert told.json["status"] == "ready"
    assert told.json["version"] == __version__
    up = told.json["upstreams"]["up"]
    assert (up["state"], up["error"]) == ("ok", None)
    assert (up["resting_keys"], up["breakers"], up["quirks"]) == ([], {}, [])
    assert told.json["mcp_servers"] == {}
    assert told.json["records"]["state"] == "ok"


@pytest.mark.parametrize(
    ("header", "host"),
    [
        (("X-Forwarded-For", "203.0.113.7"), ""),
        (("x-forwarded-proto", "https"), ""),
        (("Forwarded", "for=203.0.113.7"), ""),
        (("Accept", "*/*"), "bridge.example"),
    ],
)
def test_readyz_tells_others_only_that_it_serves(bridge: Bridged, header: tuple[str, str], host: str) -> None:
    got = send(bridge.port, headers=[header], method="GET", path="/readyz", host=host)
    assert (got.status, got.json) == (200, {"status": "ready", "version": __version__})


def test_readyz_is_degraded_while_an_upstream_fails(tmp_path: Path, upstream: RawUpstream) -> None:
    config = configuration(tmp_path, f"http://127.0.0.1:{free_port()}/v1")
    config["upstreams"]["good"] = {"base_url": upstream.base_url, "models": ["m-*"]}
    config["upstreams"]["up"]["models"] = ["bad"]
    config["mcp_servers"] = {"gone": {"command": "/nowhere/at/all"}}
    with serving(create_app(config)) as served:
        ask(served.port, model="bad")
        ask(served.port)
        got = send(served.port, method="GET", path="/readyz")
    assert (got.status, got.json["status"]) == (200, "degraded")
    assert got.json["upstreams"]["up"]["state"] == "failing"
    assert "cannot be reached" in got.json["upstreams"]["up"]["error"]
    assert got.json["upstreams"]["good"]["state"] == "ok"
    assert got.json["mcp_servers"]["gone"]["state"] != "connected"


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_upstreams_error_reaches_the_client_as_it_is(
    bridge: Bridged, upstream: RawUpstream, status: int, streamed: bool
) -> None:
    body = json.dumps({"error": {"message": "no\u00a0", "extra": [1]}}, indent=3).encode()
    kept = [
        JSON_TYPE,
        ("Retry-After", "17"),
        ("x-should-retry", "true"),
        ("x-request-id", "req-7"),
        ("x-ratelimit-remaining-tokens", "0"),
    ]
    fields = "\r\n".join(f"{name}: {value}" for name, value in kept)
    head = f"HTTP/1.1 {status} Oh\r\n{fields}\r\nset-cookie: a=b\r\ncontent-length: {len(body)}\r\n\r\n"

    def refuse(talk: Talk) -> None:
        talk.send(head.encode(), body)

    upstream.answer = refuse
    got = ask(bridge.port, stream=streamed)
    assert (got.status, got.body) == (status, body)
    assert {name: got.header(name.lower()) for name, _ in kept} == dict(kept)
    assert got.header("set-cookie") is None
    row = bridge.ended()
    assert (row["status"], row["http_status"], row["error_code"]) == ("failed", status, f"upstream_{status}")
