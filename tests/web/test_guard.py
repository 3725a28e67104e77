"""Names that were bent to this machine, and pages of other origins, do not reach the bridge."""

import pytest

from tests.support.bridged import Bridged
from tests.support.raw import JSON_TYPE, Got, RawUpstream, answer_plainly, send

PAGE = "https://page.example"
QUESTION = b'{"model": "m-1", "messages": []}'


def _from(bridge: Bridged, origin: str, host: str = "") -> Got:
    return send(bridge.port, QUESTION, [JSON_TYPE, ("Origin", origin)], host=host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost:4180",
        "LocalHost",
        "[::1]",
        "[::1]:80",
        "127.1.2.3",
        "a.localhost",
        "bridge.example",
        "Bridge.Example:8080",
    ],
)
def test_loopback_names_and_allowed_ones_are_served(bridge: Bridged, host: str) -> None:
    assert send(bridge.port, QUESTION, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "10.0.0.1",
        "[::2]",
        "127.0.0.1.evil.example",
        "bridge.example.evil.example",
        "a.bridge.example",
        "127.0.0.1@evil.example",
        "[::1",
        "",
        " ",
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/readyz", "/nowhere"])
def test_any_other_name_is_refused(bridge: Bridged, upstream: RawUpstream, host: str, path: str) -> None:
    got = send(bridge.port, QUESTION, host=host or " ", path=path)
    assert (got.status, got.error["code"]) == (403, "forbidden")
    assert "server.allowed_hosts" in got.error["message"]
    assert not upstream.heard


def test_a_request_without_a_host_is_refused(bridge: Bridged, upstream: RawUpstream) -> None:
    assert send(bridge.port, QUESTION, host=None).status in (400, 403)
    assert not upstream.heard


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "https://page.example.evil.example",
        "http://page.example",
        "https://page.example:8443",
        "http://localhost:9",
        "file://",
        "http://[::1",
    ],
)
def test_a_foreign_page_is_refused(bridge: Bridged, upstream: RawUpstream, origin: str) -> None:
    got = _from(bridge, origin)
    assert (got.status, got.error["code"]) == (403, "forbidden")
    assert "server.allowed_origins" in got.error["message"]
    assert got.header("access-control-allow-origin") is None
    assert not upstream.heard


def test_a_page_of_the_bridge_itself_is_served(bridge: Bridged) -> None:
    assert _from(bridge, f"http://127.0.0.1:{bridge.port}").status == 200
    assert _from(bridge, "http://localhost:9", host="localhost:9").status == 200


def test_a_rebound_name_does_not_become_the_same_origin(bridge: Bridged) -> None:
    assert _from(bridge, "http://evil.example", host="evil.example").status == 403


@pytest.mark.parametrize("streamed", [False, True])
def test_an_allowed_page_reads_the_answer(bridge: Bridged, upstream: RawUpstream, streamed: bool) -> None:
    upstream.answer = answer_plainly
    body = b'{"model": "m-1", "messages": [], "stream": true}' if streamed else QUESTION
    got = send(bridge.port, body, [JSON_TYPE, ("Origin", PAGE)])
    assert got.status == 200
    assert got.header("access-control-allow-origin") == PAGE
    assert b"Hel" in got.body


def test_an_allowed_page_reads_errors_too(bridge: Bridged) -> None:
    got = send(bridge.port, b"", [JSON_TYPE, ("Origin", PAGE)])
    assert (got.status, got.header("access-control-allow-origin")) == (400, PAGE)


def test_an_allowed_page_may_ask_first(bridge: Bridged, upstream: RawUpstream) -> None:
    asked = [
        ("Origin", PAGE),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,x-aibridge-tools"),
    ]
    got = send(bridge.port, b"", asked, method="OPTIONS")
    assert got.status == 200
    assert got.header("access-control-allow-origin") == PAGE
    assert "POST" in (got.header("access-control-allow-methods") or "")
    assert "x-aibridge-tools" in (got.header("access-control-allow-headers") or "")
    assert not upstream.heard


def test_a_foreign_page_may_not_even_ask_first(bridge: Bridged) -> None:
    asked = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")]
    got = send(bridge.port, b"", asked, method="OPTIONS")
    assert got.status == 403
    assert got.header("access-control-allow-origin") is None
