"""Refusals of `/v1/messages`, which is passed through: its clients read Anthropic's error object."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.environment import free_port
from tests.support.keys import bearer, make_key
from tests.support.raw import JSON_TYPE, Got, RawUpstream, Talk, connection, read_response, request, send

ASKED = b'{"model": "m-1", "max_tokens": 9, "messages": []}'
ROUTES = ("/v1/messages", "/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens")


def _refused(got: Got, status: int, type_: str) -> str:
    """The message of a refusal in Anthropic's shape."""
    assert got.status == status, got.body
    assert got.header("content-type") == "application/json"
    assert got.json.keys() == {"type", "error"} and got.json["type"] == "error"
    assert got.json["error"].keys() == {"type", "message"} and got.json["error"]["type"] == type_
    message: str = got.json["error"]["message"]
    return message


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, shared_upstream: RawUpstream) -> Iterator[Bridged]:
    """Takes 8000 bytes, and knows an upstream that is not there, and one that has a tenth of a second."""
    folder: Path = tmp_path_factory.mktemp("failing")
    config = configuration(folder, "", server={"max_body": 8000})
    once = {"retries": 0, "breaker": "off"}
    config["upstreams"] = {
        "gone": {"base_url": f"http://127.0.0.1:{free_port()}/v1", "models": ["gone"], **once},
        "slow": {"base_url": shared_upstream.base_url, "first_byte_timeout": "100ms", **once},
    }
    with bridged(folder, config) as bridge:
        yield bridge


@pytest.mark.parametrize("path", [*ROUTES, "/up/v1/messages"])
def test_a_key_that_is_unknown(bridge: Bridged, path: str) -> None:
    got = send(bridge.port, ASKED, [JSON_TYPE, ("x-api-key", "sk-aib-unknown")], path=path)
    assert "key" in _refused(got, 401, "authentication_error")


@pytest.mark.parametrize("path", ROUTES)
def test_a_page_that_may_not_call(bridge: Bridged, path: str) -> None:
    got = send(bridge.port, ASKED, [JSON_TYPE, ("origin", "https://other.example")], path=path)
    assert "https://other.example" in _refused(got, 403, "permission_error")


def test_a_model_that_the_key_may_not_use(bridge: Bridged) -> None:
    key = make_key(bridge.port, models=["m-2"])
    got = send(bridge.port, ASKED, [JSON_TYPE, bearer(key)], path="/v1/messages")
    assert "m-1" in _refused(got, 403, "permission_error")


def test_a_model_that_nobody_serves(bridge: Bridged) -> None:
    got = send(bridge.port, b'{"model": "other", "messages": []}', path="/v1/messages")
    assert "'other'" in _refused(got, 404, "not_found_error")


def test_a_body_that_is_too_large_to_tell_whom_it_is_for(failing: Bridged) -> None:
    long = json.dumps({"model": "m-1", "messages": ["x" * 9000]}).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(long), long)
    headers = [JSON_TYPE, ("transfer-encoding", "chunked")]
    with connection(failing.port) as client:
        client.sendall(request(failing.port, chunked, headers, path="/v1/messages", length=False))
        got = read_response(client)
    assert "server.max_body" in _refused(got, 413, "request_too_large")


def test_a_rate_that_is_used_up(bridge: Bridged) -> None:
    key = make_key(bridge.port, rpm=1)
    first, second = (
        send(bridge.port, ASKED, [JSON_TYPE, bearer(key)], path="/v1/messages") for _ in range(2)
    )
    assert first.status == 200
    assert "1 requests a minute" in _refused(second, 429, "rate_limit_error")
    assert int(second.header("retry-after") or 0) > 0


def test_an_upstream_that_is_not_there(failing: Bridged) -> None:
    got = send(failing.port, b'{"model": "gone"}', path="/v1/messages")
    assert "upstream 'gone' cannot be reached" in _refused(got, 502, "api_error")


def test_an_upstream_that_does_not_answer_in_time(failing: Bridged, upstream: RawUpstream) -> None:
    upstream.answer = Talk.await_leaving
    got = send(failing.port, ASKED, path="/v1/messages")
    assert "first_byte_timeout" in _refused(got, 504, "timeout_error")


def test_while_aibridge_stops(tmp_path: Path, upstream: RawUpstream) -> None:
    with bridged(tmp_path, configuration(tmp_path, upstream.base_url)) as bridge:
        bridge.app.refuse()
        got = send(bridge.port, ASKED, path="/v1/messages")
    assert "being stopped" in _refused(got, 503, "overloaded_error")


@pytest.mark.parametrize("path", ["/v1/threads/messages-1/messages", "/v1/messagesx", "/v1/chat/messages"])
def test_other_routes_keep_openais_shape(bridge: Bridged, path: str) -> None:
    got = send(bridge.port, ASKED, [JSON_TYPE, ("x-api-key", "sk-aib-unknown")], path=path)
    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
