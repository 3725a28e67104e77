"""Which headers go on to the upstream, and which come back to the client."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import (
    COMPLETION,
    JSON_TYPE,
    STREAM,
    STREAM_HEAD,
    Heard,
    RawUpstream,
    Talk,
    ask,
    piece,
    whole,
)

OWN_KEY = "sk-upstream-own"


@pytest.fixture(scope="module")
def keyed(shared_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    """A bridge with a key of its own for the upstream, and headers to add."""
    folder = tmp_path_factory.mktemp("keyed")
    config = configuration(folder, shared_upstream.base_url)
    config["upstreams"]["up"] |= {"api_key": OWN_KEY, "headers": {"X-Team": "ours", "x-tag": "a"}}
    with bridged(folder, config) as bridge:
        yield bridge


def _heard(bridge: Bridged, upstream: RawUpstream, *pairs: tuple[str, str]) -> Heard:
    assert ask(bridge.port, pairs).status == 200
    [heard] = upstream.heard
    return heard


def test_the_clients_headers_go_on(bridge: Bridged, upstream: RawUpstream) -> None:
    pairs = [
        ("User-Agent", "codex/1.0"),
        ("OpenAI-Organization", "org-1"),
        ("openai-beta", "a"),
        ("OpenAI-Beta", "b"),
        ("X-Stainless-Lang", "js"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("accept", "text/event-stream"),
        ("x-strange", "v\u00c3\u00a4lue; the bytes of UTF-8"),
    ]
    heard = _heard(bridge, upstream, *pairs)
    for name, value in pairs:
        assert value in heard.all(name.lower())
    assert heard.all("content-type") == ["application/json"]


def test_headers_of_this_connection_stay_here(bridge: Bridged, upstream: RawUpstream) -> None:
    heard = _heard(
        bridge,
        upstream,
        ("Connection", "keep-alive, X-Hop, x-other"),
        ("X-Hop", "1"),
        ("x-other", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Trailer", "x-sum"),
        ("Proxy-Authorization", "Basic abc"),
        ("Proxy-Connection", "keep-alive"),
        ("Cookie", "session=secret"),
        ("Accept-Encoding", "gzip, br"),
        ("x-aibridge-tools", "off"),
        ("X-AIBridge-Recall", "off"),
        ("x-end-to-end", "1"),
    )
    names = {name.lower() for name, _ in heard.headers}
    assert names & {"x-hop", "x-other", "keep-alive", "te", "trailer", "cookie"} == set()
    assert not [name for name in names if name.startswith(("proxy-", "x-aibridge-"))]
    assert heard.all("accept-encoding") == ["identity"]
    assert heard.all("x-end-to-end") == ["1"]
    assert heard.all("host") == [f"127.0.0.1:{upstream.port}"]
    assert heard.all("content-length") == [str(len(heard.body))]


def test_nothing_is_added_that_nobody_asked_for(bridge: Bridged, upstream: RawUpstream) -> None:
    heard = _heard(bridge, upstream)
    assert sorted(name.lower() for name, _ in heard.headers) == [
        "accept-encoding",
        "content-length",
        "content-type",
        "host",
    ]


def test_the_callers_credential_goes_on_where_the_upstream_has_no_key(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    heard = _heard(bridge, upstream, ("Authorization", "Bearer sk-callers"), ("x-api-key", "another"))
    assert heard.all("authorization") == ["Bearer sk-callers"]
    assert heard.all("x-api-key") == ["another"]


def test_an_upstreams_own_key_takes_the_place_of_every_credential(
    keyed: Bridged, upstream: RawUpstream
) -> None:
    credentials = ("Authorization", "x-api-key", "api-key", "X-Goog-Api-Key")
    heard = _heard(keyed, upstream, *((name, "Bearer sk-callers") for name in credentials))
    assert heard.all("authorization") == [f"Bearer {OWN_KEY}"]
    assert "sk-callers" not in str(heard.headers)


def test_configured_headers_win_over_the_callers(keyed: Bridged, upstream: RawUpstream) -> None:
    heard = _heard(keyed, upstream, ("x-team", "theirs"), ("x-mine", "1"))
    assert (heard.all("x-team"), heard.all("x-tag"), heard.all("x-mine")) == (["ours"], ["a"], ["1"])


def test_nothing_leaks_in_from_the_environment(
    upstream: RawUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\ndefault login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with bridged(tmp_path, configuration(tmp_path, upstream.base_url)) as bridge:
        heard = _heard(bridge, upstream)
    assert heard.all("authorization") == heard.all("proxy-authorization") == []


def test_the_upstreams_headers_come_back(bridge: Bridged, upstream: RawUpstream) -> None:
    kept = [
        ("x-request-id", "req-1"),
        ("retry-after", "3"),
        ("x-ratelimit-limit-requests", "500"),
        ("X-RateLimit-Reset-Tokens", "6m0s"),
        ("openai-processing-ms", "12"),
        ("x-strange", "1"),
    ]
    dropped = [
        ("Set-Cookie", "session=secret"),
        ("Connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Alt-Svc", 'h3=":443"'),
    ]
    upstream.answer = lambda talk: talk.send(whole(COMPLETION, headers=[JSON_TYPE, *kept, *dropped]))
    got = ask(bridge.port)
    assert {name: got.header(name.lower()) for name, _ in kept} == dict(kept)
    names = [name.lower() for name, _ in got.headers]
    assert not {name.lower() for name, _ in dropped} & set(names)
    assert names.count("content-length") == 1 and "transfer-encoding" not in names
    assert names.count("content-type") == 1


def test_an_answer_without_a_request_id_gets_the_exchanges(bridge: Bridged) -> None:
    got = ask(bridge.port)
    assert got.header("x-request-id") == got.header("x-aibridge-exchange-id")


def test_an_answer_that_is_encoded_all_the_same_is_decoded(bridge: Bridged, upstream: RawUpstream) -> None:
    def answer(talk: Talk) -> None:
        if talk.heard.json.get("stream"):
            head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
            talk.send(head, piece(gzip.compress(STREAM)), piece(b""))
        else:
            talk.send(whole(gzip.compress(COMPLETION), headers=[JSON_TYPE, ("Content-Encoding", "gzip")]))

    upstream.answer = answer
    got = ask(bridge.port)
    assert (got.body, got.header("content-encoding")) == (COMPLETION, None)
    got = ask(bridge.port, stream=True, stream_options={"include_usage": True})
    assert (got.body, got.header("content-encoding")) == (STREAM, None)


def test_a_stream_is_not_held_back_by_proxies(bridge: Bridged) -> None:
    got = ask(bridge.port, stream=True)
    assert got.header("cache-control") == "no-cache, no-transform"
    assert got.header("x-accel-buffering") == "no"
    assert (got.header("content-type") or "").startswith("text/event-stream")


def test_errors_that_are_encoded_are_decoded(bridge: Bridged, upstream: RawUpstream) -> None:
    body = json.dumps({"error": {"message": "no"}}).encode()
    headers = [JSON_TYPE, ("Content-Encoding", "gzip")]
    upstream.answer = lambda talk: talk.send(whole(gzip.compress(body), "400 Bad Request", headers))
    got = ask(bridge.port)
    assert (got.status, got.body, got.header("content-encoding")) == (400, body, None)
