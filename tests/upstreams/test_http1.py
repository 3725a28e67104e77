"""The parser of answers without any network: whole, byte by byte, and chopped at random."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.upstreams.http1 import (
    LONGEST_HEAD,
    AnswerParser,
    Broken,
    request_body,
    request_head,
    whole_request,
)
from tests.upstreams.peers import CHUNKED, HELLO, LAST, SIZED, Pieces

ENDED = object()
"""In a list of pieces: the connection ended."""


def _parse(pieces: Iterable[Any], method: str = "POST") -> tuple[AnswerParser, bytes]:
    """The parser after all pieces, and the body."""
    parser, body = AnswerParser(method), b""
    for piece in pieces:
        if parser.ended:
            break
        if piece is ENDED:
            parser.end()
        else:
            parser.feed(piece)
        body += parser.take()
    return parser, body


CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
WHOLE: dict[str, tuple[bytes, bytes]] = {
    "sized": (SIZED, b"hello"),
    "chunked": (CHUNKED + HELLO + HELLO + LAST, b"hellohello"),
    "empty": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    "chunked and empty": (CHUNKED + LAST, b""),
    "chunk extensions": (CHUNKED + b'5;a=1;b="2"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
    "a blank after the size": (CHUNKED + b"5 \r\nhello\r\n" + LAST, b"hello"),
    "trailers": (CHUNKED + HELLO + b"0\r\nx-sum: 1\r\nX-More: 2\r\n\r\n", b"hello"),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED, b"hello"),
    "103 and 100": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\ncontent-length: 7\r\n\r\n"
        b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + HELLO + LAST,
        b"hello",
    ),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "LF alone": (b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", b"hello"),
    "blank lines before": (b"\r\n\r\n" + SIZED, b"hello"),
    "204": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", b""),
    "304": (b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_is_the_same_whole_and_byte_by_byte(name: str) -> None:
    answer, body = WHOLE[name]
    for pieces in ([answer], [answer[i : i + 1] for i in range(len(answer))]):
        parser, got = _parse(pieces)
        assert parser.ended and parser.reusable and got == body
        assert not any(field in dict(parser.headers) for field in (b"link", b"x-sum"))


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 300)))
def test_an_answer_is_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    answer, body = WHOLE[name]
    places = [0, *sorted(cut % len(answer) for cut in cuts), len(answer)]
    parser, got = _parse(answer[a:b] for a, b in pairwise(places))
    assert parser.ended and parser.reusable and got == body


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_that_is_cut_short_is_broken_at_every_place(name: str) -> None:
    answer, body = WHOLE[name]
    for place in range(len(answer)):
        parser = AnswerParser("POST")
        parser.feed(answer[:place])
        if parser.ended:
            break
        with pytest.raises(Broken):
            parser.end()
        assert body.startswith(parser.take())


def test_without_a_length_the_body_lasts_until_the_connection_ends() -> None:
    for head in (CLOSE, b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\n"):
        parser, body = _parse([head + b"\r\nhel", b"lo", ENDED])
        assert (parser.ended, parser.reusable, body) == (True, False, b"hello")


def test_an_answer_to_head_has_no_body_and_its_connection_is_not_used_again() -> None:
    for answer in (SIZED, SIZED[:-5], CHUNKED):
        parser, body = _parse([answer], "HEAD")
        assert (parser.status, parser.ended, parser.reusable, body) == (200, True, False, b"")


@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\n\r\n", SIZED, b"\r\n\r\n\0", b"hello"])
@pytest.mark.parametrize("answer", [SIZED, CHUNKED + HELLO + LAST])
def test_bytes_after_the_end_are_dropped_and_cost_the_connection(answer: bytes, more: bytes) -> None:
    parser, body = _parse([answer + more])
    assert (parser.status, parser.ended, parser.reusable, body) == (200, True, False, b"hello")


def test_an_answer_that_says_close_costs_the_connection() -> None:
    parser, body = _parse([CLOSE + b"content-length: 5\r\n\r\nhello"])
    assert (parser.ended, parser.reusable, body) == (True, False, b"hello")


def test_headers_keep_their_case_order_and_bytes_and_lose_blanks_around() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-B:  caf\xc3\xa9 \t\r\nx-a: \xe9\r\nX-B:\r\ncontent-length: 0\r\n\r\n"
    parser, _ = _parse([head])
    assert parser.headers == [
        (b"X-B", b"caf\xc3\xa9"),
        (b"x-a", b"\xe9"),
        (b"X-B", b""),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : v\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"ffffffffffffffffffff\r\n",
        CHUNKED + b"5\r\nhelloooo\r\n",
        CHUNKED + b"0\r\nbad trailer\r\n\r\n",
    ],
)
def test_what_is_no_http_is_broken(answer: bytes) -> None:
    for pieces in ([answer], [answer[i : i + 1] for i in range(len(answer))]):
        with pytest.raises(Broken):
            _parse(pieces)


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"HTTP/1.1 200 ", b"O" * 1000),
        (b"HTTP/1.1 200 OK\r\nx: ", b"v" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"x: v\r\n" * 200),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
        (CHUNKED + b"0\r\nx: ", b"v" * 1000),
        (CHUNKED + b"0\r\n", b"x: v\r\n" * 200),
        (CHUNKED + b"5;x=", b"v" * 1000),
    ],
)
def test_what_brings_no_body_for_too_long_is_broken(begun: bytes, more: bytes) -> None:
    parser = AnswerParser("POST")
    parser.feed(begun)
    fed = 0
    with pytest.raises(Broken):
        while fed < 2 * LONGEST_HEAD:
            parser.feed(more)
            fed += len(more)
    assert fed < LONGEST_HEAD + 2000


def test_long_bodies_and_many_chunks_are_not_too_long() -> None:
    parser, body = _parse([CHUNKED, *[HELLO] * 50_000, LAST])
    assert parser.ended and len(body) == 250_000


def _head(**parts: Any) -> bytes:
    given = {"method": "POST", "url": "http://up/v1?a=1", "stream": httpx2.ByteStream(b""), **parts}
    return request_head(httpx2.Request(**given))


def test_a_requests_head_is_its_headers_as_they_are() -> None:
    headers = [(b"Host", b"up"), (b"x-caf", b"\xc3\xa9 \xff"), (b"X-Caf", b"")]
    assert _head(headers=headers) == (
        b"POST /v1?a=1 HTTP/1.1\r\nHost: up\r\nx-caf: \xc3\xa9 \xff\r\nX-Caf: \r\n\r\n"
    )


@pytest.mark.parametrize(
    "pair",
    [(b"x", b"a\r\nhost: b"), (b"x", b"a\nb"), (b"x", b"a\rb"), (b"x", b"a\0b"), (b"a b", b""), (b"", b"v")],
)
def test_a_header_that_would_be_another_request_is_refused(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx2.LocalProtocolError):
        _head(headers=[pair])


def test_a_method_that_would_be_another_request_is_refused() -> None:
    with pytest.raises(httpx2.LocalProtocolError):
        _head(method="GET / HTTP/1.1\r\nhost: b\r\n\r\nGET")


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _framed(headers: dict[str, str], *pieces: bytes) -> bytes:
    """A body that comes in pieces, framed."""

    async def framed() -> bytes:
        request = httpx2.Request("POST", "http://up/", headers=headers, stream=Pieces(_pieces(*pieces)))
        return b"".join([piece async for piece in request_body(request)])

    return asyncio.run(framed())


def _framed_whole(headers: dict[str, str], *pieces: bytes) -> bytes:
    """A body that is known, framed."""
    body = httpx2.ByteStream(b"".join(pieces))
    request = httpx2.Request("POST", "http://up/", headers=headers, stream=body)
    return whole_request(request, body).removeprefix(request_head(request))


@pytest.mark.parametrize("framed", [_framed, _framed_whole])
def test_a_body_is_framed_as_its_headers_announce(framed: Callable[..., bytes]) -> None:
    chunked = {"Transfer-Encoding": "chunked"}
    assert framed(chunked, b"hello") == b"5\r\nhello\r\n0\r\n\r\n"
    assert framed(chunked) == b"0\r\n\r\n"
    assert framed({"Content-Length": "5"}, b"hel", b"", b"lo") == b"hello"
    assert framed({}) == b""
    for length, body in (("4", b"hello"), ("6", b"hello"), ("x", b"hello"), ("0", b"h")):
        with pytest.raises(httpx2.LocalProtocolError):
            framed({"content-length": length}, body)
    with pytest.raises(httpx2.LocalProtocolError):
        framed({}, b"hello")


def test_each_piece_of_a_body_is_a_chunk() -> None:
    chunked = {"transfer-encoding": "chunked"}
    assert _framed(chunked, b"hel", b"", b"lo") == b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
