"""HTTP/1.1 as bytes, without I/O: a request's head and body, an answer's head and body (RFC 9112).

Rules: a request is sent as its headers frame it, and refused if it does not keep to them. Of an answer, 1xx
are skipped and trailers dropped; HEAD, 204 and 304 have no body; without a length the body lasts until the
connection ends. Lines of an answer's head may end in LF alone, as some small servers do; what a second
recipient could read in another way (two lengths, length and chunks, folded lines) is refused.
"""

import re
from collections.abc import AsyncGenerator
from functools import lru_cache

import httpx2
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from aibridge.upstreams.headers import Pairs

LONGEST_HEAD = 128 << 10
"""Bytes that may come without any of a body: a head, 1xx answers, trailers, chunk extensions."""

HEADS_REMEMBERED = 256
"""Heads of requests, but for their length; a client's are the same again and again."""
_LAST_CHUNK = b"0\r\n\r\n"
_WRONG_LENGTH = "the request's body does not have the length that its headers announce"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_HEAD = re.compile(rb"%b [!-~]+ HTTP/1\.1\r\n(?:%b: [^\0\r\n]*+\r\n)*+" % (_TOKEN, _TOKEN))
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Broken(Exception):
    """An answer is no HTTP/1.1, or not a whole one."""


def request_head(request: httpx2.Request) -> bytes:
    """The request line and the headers as they are. Raises LocalProtocolError."""
    return head_of(request.method, request.url.raw_path, tuple(request.headers.raw)) + b"\r\n"


@lru_cache(HEADS_REMEMBERED)
def head_of(method: str, path: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The same without the blank line at its end."""
    lines = [b"%b %b HTTP/1.1\r\n" % (method.encode(), path)]
    lines += [b"%b: %b\r\n" % pair for pair in headers]
    head = b"".join(lines)
    if not _REQUEST_HEAD.fullmatch(head) or head.count(b"\n") > len(lines):
        raise httpx2.LocalProtocolError("a request line or header has a character that HTTP does not allow")
    return head


def whole_request(request: httpx2.Request, body: httpx2.ByteStream) -> bytes:
    """The head, and a body that is known. Raises LocalProtocolError."""
    data = b"".join(body)
    length = _announced(request)
    if length is None:
        data = (_chunk(data) if data else b"") + _LAST_CHUNK
    elif length != len(data):
        raise httpx2.LocalProtocolError(_WRONG_LENGTH)
    return request_head(request) + data


async def request_body(request: httpx2.Request) -> AsyncGenerator[bytes]:
    """A body that comes in pieces, in the frame that the headers announce. Raises LocalProtocolError."""
    assert isinstance(request.stream, httpx2.AsyncByteStream)
    left = _announced(request)
    async for data in request.stream:
        if left is None:
            if data:
                yield _chunk(data)
        else:
            left -= len(data)
            if left < 0:
                break
            yield data
    if left:
        raise httpx2.LocalProtocolError(_WRONG_LENGTH)
    if left is None:
        yield _LAST_CHUNK


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _announced(request: httpx2.Request) -> int | None:
    """The length of the body; None where it is chunked."""
    headers = {name.lower(): value for name, value in request.headers.raw}
    if b"transfer-encoding" in headers:
        return None
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise httpx2.LocalProtocolError("the request's content-length is no number")
    return int(length)


class AnswerParser:
    """One answer from its first byte to its last, however the network cuts it."""

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: Pairs = []
        self.begun = False
        """The head is whole."""
        self.ended = False
        self.reusable = False
        """Once it has ended: another request may follow on the connection."""
        self.waiting = 0
        """Bytes of the body that nobody took yet."""
        self._bodiless = method == "HEAD"
        self._framed = False
        self._pieces: list[bytes] = []
        self._barren = 0
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: bytes) -> None:
        """Take what the network gave, until it `ended`. Raises Broken; the body until there can be taken."""
        waiting = self.waiting
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.reusable = False
            if not self.ended:
                raise Broken(f"the answer is no HTTP/1.1: {error}") from error
        if self.ended:
            del self._parser  # it refers to us: nothing that the garbage collector has to find
            return
        self._barren = 0 if self.waiting > waiting else self._barren + len(data)
        if self._barren > LONGEST_HEAD:
            raise Broken("the answer's head is too long")

    def end(self) -> None:
        """The connection ended. Raises Broken where that is not the answer's end."""
        if self.begun and not self._framed:
            self.ended = True
        if not self.ended:
            raise Broken("the connection was closed before the answer was whole")

    def take(self) -> bytes:
        """What came of the body since; empty where nothing did."""
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # What httptools calls. After the end it goes on with what it takes for the next answer.

    def on_message_begin(self) -> None:
        if self.ended:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.begun:
            return
        value = value.rstrip(b" \t")
        if name.lower() in _FRAMING:
            self._framed = True
            if len(name) == len(b"transfer-encoding") and value.lower() != b"chunked":
                raise Broken("a transfer coding that nobody asked for")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.begun:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers, self._framed = [], False
            return
        self.begun = True
        self.reusable = self._parser.should_keep_alive()
        if self._bodiless:  # the parser cannot be told, and waits for a body: its connection ends here
            self.ended, self.reusable = True, False

    def on_body(self, data: bytes) -> None:
        if not self.ended:
            self._pieces.append(data)
            self.waiting += len(data)

    def on_message_complete(self) -> None:
        self.ended = self.begun
