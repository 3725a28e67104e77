"""Rates and concurrency over the wire: what is refused, what is told, and that slots come back."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import openai
import pytest

from tests.support.bridged import Bridged
from tests.support.clients import sdk
from tests.support.keys import bearer, make_key, refusals
from tests.support.raw import (
    COMPLETION,
    PATH,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    ask,
    connection,
    piece,
    read_response,
    request,
    said,
    whole,
)
from tests.support.waiting import eventually

Json = dict[str, Any]
BODY = b'{"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}'


def test_requests_beyond_the_rate_are_refused_with_when_to_come_again(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    key = make_key(bridge.port, "two a minute", rpm=2)
    first = ask(bridge.port, [bearer(key)])
    assert first.header("x-ratelimit-limit-requests") == "2"
    assert first.header("x-ratelimit-remaining-requests") == "1"
    assert first.header("x-ratelimit-limit-tokens") is None
    assert ask(bridge.port, [bearer(key)]).status == 200
    got = ask(bridge.port, [bearer(key)])
    assert (got.status, got.error["code"]) == (429, "rate_limit_exceeded")
    assert "2 requests a minute" in got.error["message"]
    assert 1 <= int(got.header("retry-after") or 0) <= 30
    assert got.header("x-ratelimit-remaining-requests") == "0"
    assert len(upstream.heard) == 2
    assert ask(bridge.port, [bearer(make_key(bridge.port, rpm=2))]).status == 200  # another key's own


def test_ours_stand_in_the_place_of_the_upstreams_rates(bridge: Bridged, upstream: RawUpstream) -> None:
    theirs = (("x-ratelimit-limit-requests", "9999"), ("x-ratelimit-remaining-tokens", "77"))

    def answer(talk: Talk) -> None:
        talk.send(whole(COMPLETION, headers=[("content-type", "application/json"), *theirs]))

    upstream.answer = answer
    got = ask(bridge.port, [bearer(make_key(bridge.port, rpm=5))])
    told = {name: value for name, value in got.headers if name.startswith("x-ratelimit")}
    assert told["x-ratelimit-limit-requests"] == "5"
    assert "x-ratelimit-remaining-tokens" not in told
    plain = ask(bridge.port, [bearer(make_key(bridge.port))])
    assert plain.header("x-ratelimit-limit-requests") == "9999"


def test_tokens_are_estimated_before_and_corrected_after(bridge: Bridged, upstream: RawUpstream) -> None:
    key = make_key(bridge.port, tpm=1000)
    got = ask(bridge.port, [bearer(key)], messages=[{"role": "user", "content": "x" * 2000}])
    assert got.status == 200
    assert int(got.header("x-ratelimit-remaining-tokens") or 0) < 500
    # The answer told 5 tokens: the rest of the estimate came back.
    again = eventually(lambda: _with_room(bridge, key), what="the correction")
    assert again >= 950


def _with_room(bridge: Bridged, key: Json) -> int:
    left = int(ask(bridge.port, [bearer(key)]).header("x-ratelimit-remaining-tokens") or 0)
    return left if left >= 950 else 0


def test_what_was_used_beyond_the_estimate_is_owed(bridge: Bridged, upstream: RawUpstream) -> None:
    def answer(talk: Talk) -> None:
        usage = {"prompt_tokens": 10, "completion_tokens": 900, "total_tokens": 910}
        talk.send(whole(json.dumps({**json.loads(COMPLETION), "usage": usage}).encode()))

    upstream.answer = answer
    key = make_key(bridge.port, tpm=900)
    assert ask(bridge.port, [bearer(key)]).status == 200
    got = ask(bridge.port, [bearer(key)])
    assert (got.status, got.error["code"]) == (429, "rate_limit_exceeded")
    assert got.header("x-ratelimit-remaining-tokens") == "0"


@contextmanager
def _open_stream(bridge: Bridged, key: Json, path: str) -> Iterator[socket.socket]:
    body = BODY[:-1] + b', "stream": true}'
    with connection(bridge.port) as client:
        headers = [("content-type", "application/json"), bearer(key)]
        client.sendall(request(bridge.port, body, headers, path=path))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        yield client


def _stall(talk: Talk) -> None:
    talk.send(STREAM_HEAD, piece(said("one", role="assistant")))
    talk.await_leaving()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/speech"])
def test_a_client_that_leaves_gives_its_slot_back(bridge: Bridged, upstream: RawUpstream, path: str) -> None:
    upstream.answer = _stall
    key = make_key(bridge.port, concurrency=1)
    with _open_stream(bridge, key, path):
        got = ask(bridge.port, [bearer(key)])
        assert (got.status, got.error["code"]) == (429, "rate_limit_exceeded")
        assert "1 requests at a time" in got.error["message"]
    upstream.answer = lambda talk: talk.send(whole(COMPLETION))
    eventually(lambda: ask(bridge.port, [bearer(key)]).status == 200, what="the slot")


def _say(status: str, talk: Talk) -> None:
    talk.send(whole(COMPLETION, status))


@pytest.mark.parametrize(
    "body",
    [BODY, b"{", b'{"model": "nothing-serves-this", "messages": []}', b'{"model": "m-1"}'],
    ids=["a good one", "no JSON", "no model", "no messages"],
)
def test_every_ending_gives_the_slot_back(bridge: Bridged, upstream: RawUpstream, body: bytes) -> None:
    key = make_key(bridge.port, concurrency=1)
    for status in ("200 OK", "404 Not Found", "400 Bad Request"):
        upstream.answer = partial(_say, status)
        for _ in range(3):
            with connection(bridge.port) as client:
                headers = [("content-type", "application/json"), bearer(key), ("x-should-retry", "false")]
                client.sendall(request(bridge.port, body, headers))
                got = read_response(client)
            assert b"at a time" not in got.body


def test_the_openai_sdk_sees_its_own_errors(bridge: Bridged) -> None:
    tight = make_key(bridge.port, rpm=1)
    for text, kind in (("sk-aib-nobody", openai.AuthenticationError), (tight["key"], openai.RateLimitError)):
        with (
            sdk(bridge.base_url, text) as client,
            pytest.raises(kind) as raised,
        ):
            for _ in range(2):
                client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": "hi"}])
        if isinstance(raised.value, openai.RateLimitError):
            assert raised.value.code == "rate_limit_exceeded"
            assert int(raised.value.response.headers["retry-after"]) >= 1


def test_the_sdk_comes_again_when_it_was_told_to(bridge: Bridged, upstream: RawUpstream) -> None:
    key = make_key(bridge.port, concurrency=1)
    upstream.answer = _stall
    with (
        sdk(bridge.base_url, key["key"], max_retries=5) as client,
        ThreadPoolExecutor() as pool,
    ):
        with _open_stream(bridge, key, PATH):
            before = refusals(bridge.port)["concurrency"]
            asked = pool.submit(lambda: _said_by(client))
            eventually(lambda: refusals(bridge.port)["concurrency"] > before, what="a refusal")
            upstream.answer = lambda talk: talk.send(whole(COMPLETION))
        assert asked.result() == "Hello"


def _said_by(client: openai.OpenAI) -> str | None:
    answer = client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": "hi"}])
    return answer.choices[0].message.content
