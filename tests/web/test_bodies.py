"""What a request's body may be: JSON that says what it asks, within a bound, encoded or not."""

import gzip
import json
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd

from tests.support.bridged import Bridged
from tests.support.raw import JSON_TYPE, Got, RawUpstream, connection, piece, read_response, request, send
from tests.web.conftest import MAX_BODY

QUESTION = json.dumps({"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}).encode()
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


def _encoded(bridge: Bridged, body: bytes, encoding: str) -> Got:
    return send(bridge.port, body, [JSON_TYPE, ("Content-Encoding", encoding)])


@pytest.mark.parametrize(
    ("body", "says", "param"),
    [
        (b"", "not a JSON object", None),
        (b"hello", "not a JSON object", None),
        (b'{"model": "m-1", "messages": [', "not a JSON object", None),
        (b'{"model": "m-1", "messages": []} x', "not a JSON object", None),
        (b'{"model": "m-1", "messages": [NaN]}', "not a JSON object", None),
        (b'{"model": "m-\xff", "messages": []}', "not a JSON object", None),
        (b'{"model": "m-1", "messages": ' + b"[" * 3000, "not a JSON object", None),
        (b"[]", "not a JSON object", None),
        (b'"m-1"', "not a JSON object", None),
        (b'{"messages": []}', "no `model`", "model"),
        (b'{"model": 7, "messages": []}', "no `model`", "model"),
        (b'{"model": "", "messages": []}', "no `model`", "model"),
        (b'{"model": "\\ud800", "messages": []}', "`model` has a character", "model"),
        (b'{"model": "m\\n1", "messages": []}', "`model` has a character", "model"),
        (b'{"model": "m-1"}', "no `messages`", "messages"),
        (b'{"model": "m-1", "messages": "hi"}', "no `messages`", "messages"),
        (b'{"model": "m-1", "input": "hi"}', "/v1/responses", "messages"),
        (b'{"model": "m-1", "messages": [], "tools": {"a": 1}}', "`tools` has to be a list", "tools"),
    ],
)
def test_a_body_that_asks_nothing_is_refused(
    bridge: Bridged, upstream: RawUpstream, body: bytes, says: str, param: str | None
) -> None:
    got = send(bridge.port, body)
    assert (got.status, got.error["code"], got.error["param"]) == (400, "invalid_request_error", param)
    assert says in got.error["message"]
    assert not upstream.heard


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_a_page_may_send_unasked_is_refused(bridge: Bridged, media: str) -> None:
    got = send(bridge.port, QUESTION, [("Content-Type", media)] if media else [])
    assert (got.status, got.error["code"]) == (415, "unsupported_media_type")
    assert "application/json" in got.error["message"]


def test_parameters_of_the_media_type_do_not_matter(bridge: Bridged) -> None:
    assert send(bridge.port, QUESTION, [("Content-Type", "Application/JSON; charset=utf-8")]).status == 200


def test_a_body_over_the_limit_is_refused(bridge: Bridged, upstream: RawUpstream) -> None:
    got = send(bridge.port, QUESTION.ljust(MAX_BODY + 1))
    assert (got.status, got.error["code"]) == (413, "request_too_large")
    assert "server.max_body" in got.error["message"]
    assert send(bridge.port, QUESTION.ljust(MAX_BODY)).status == 200
    assert len(upstream.heard) == 1


def test_a_body_over_the_limit_is_refused_before_it_is_whole(bridge: Bridged) -> None:
    with connection(bridge.port) as client:
        head = request(bridge.port, headers=[JSON_TYPE, ("Content-Length", "999999")], length=False)
        client.sendall(head)
        assert read_response(client).status == 413


def test_a_body_without_a_length_is_bounded_too(bridge: Bridged) -> None:
    head = request(bridge.port, headers=[JSON_TYPE, ("Transfer-Encoding", "chunked")], length=False)
    with connection(bridge.port) as client:
        client.sendall(head + piece(QUESTION) + piece(b""))
        assert read_response(client).status == 200
    with connection(bridge.port) as client:
        client.sendall(head + piece(QUESTION.ljust(MAX_BODY)) + piece(b" "))
        got = read_response(client)
    assert (got.status, got.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("encoding", ENCODERS)
def test_an_encoded_body_goes_on_decoded(bridge: Bridged, upstream: RawUpstream, encoding: str) -> None:
    assert _encoded(bridge, ENCODERS[encoding](QUESTION), encoding).status == 200
    [heard] = upstream.heard
    assert heard.body == QUESTION
    assert heard.all("content-encoding") == []
    assert heard.all("content-length") == [str(len(QUESTION))]


def test_encodings_are_taken_off_in_order(bridge: Bridged, upstream: RawUpstream) -> None:
    body = zstd.compress(gzip.compress(QUESTION))
    assert _encoded(bridge, body, "GZip, identity, zstd").status == 200
    assert upstream.heard[0].body == QUESTION


@pytest.mark.parametrize("encoding", ENCODERS)
def test_more_after_the_end_is_refused_rather_than_dropped(bridge: Bridged, encoding: str) -> None:
    for more in (b"garbage", ENCODERS[encoding](b" ")):
        got = _encoded(bridge, ENCODERS[encoding](QUESTION) + more, encoding)
        assert (got.status, got.error["code"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_bomb_is_refused(bridge: Bridged, upstream: RawUpstream, encoding: str) -> None:
    got = _encoded(bridge, ENCODERS[encoding](b" " * 10_000_000)[:MAX_BODY], encoding)
    assert (got.status, got.error["code"]) == (413, "request_too_large")
    assert not upstream.heard


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_truncated_body_is_refused(bridge: Bridged, encoding: str) -> None:
    whole = ENCODERS[encoding](QUESTION)
    for body in (whole[: len(whole) // 2], whole[:-1], b"", b"nonsense"):
        got = _encoded(bridge, body, encoding)
        assert (got.status, got.error["code"]) == (400, "invalid_request_error"), body
        assert encoding in got.error["message"]


def test_an_unknown_encoding_is_refused(bridge: Bridged) -> None:
    got = _encoded(bridge, QUESTION, "snappy")
    assert (got.status, got.error["code"]) == (415, "unsupported_media_type")
    assert "'snappy'" in got.error["message"] and "zstd" in got.error["message"]


def test_a_client_that_leaves_before_its_body_is_whole_is_no_failure(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    with connection(bridge.port) as client:
        client.sendall(request(bridge.port, QUESTION)[:-5])
    assert send(bridge.port, QUESTION).status == 200
    assert len(upstream.heard) == 1
