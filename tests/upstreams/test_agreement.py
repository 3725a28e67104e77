"""Our transport and httpx2's own say the same of the same answer: status, headers, body, or how it failed.

Left out is what they see differently on purpose: ours refuses what could be read in two ways (two lengths,
length and chunks, folded lines), skips no 101, and has another limit for heads.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.upstreams.peers import Peer, Server, request, serving, transport

TOKEN = st.text("abcdefXYZ019-_!", min_size=1, max_size=12).map("x-".__add__)
VALUE = st.text([chr(code) for code in range(0x20, 0x100) if not 0x7F <= code < 0xA0], max_size=30)
HEADERS = st.lists(st.tuples(TOKEN, VALUE), max_size=6)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 304, 302, 400, 404, 429, 500, 503, 599])
INTERIM = st.sampled_from(
    [b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"]
)
MORE = st.sampled_from([b"", b"", b"x", b"HTTP/1.1 500 No\r\n\r\n"])
BROKEN = b"broken"
BREAKS = st.sampled_from([b"zz\r\n", b"-1\r\n", b"6\r\nbrokenXX", b"8\r\nbroken"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the upstream says, in these pieces; then it closes the connection if it is to."""

    pieces: tuple[bytes, ...]
    method: str
    closes: bool


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """A head, a frame, a body, whole, cut or broken, chopped anywhere."""
    body = draw(st.binary(max_size=400))
    frame, framed = draw(
        st.one_of(st.just(_sized(body)), _chunked(body), st.just((b"", body)), st.just(_wrong(body)))
    )
    lines = [b"%b:%b" % (name.encode(), b" " + value.encode("latin-1")) for name, value in draw(HEADERS)]
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]))
    reason = draw(st.sampled_from([b" OK", b" ", b""]))
    lines.insert(draw(st.integers(0, len(lines))), frame)
    ending = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    first = b"%b %d%b" % (version, draw(STATUS), reason)
    head = ending.join([first, *(line for line in lines if line), b"", b""])
    whole = draw(INTERIM) + head + framed + draw(MORE)
    raw = whole[: draw(st.integers(0, len(whole)))] if draw(st.integers(0, 4)) == 0 else whole
    waits = not frame or frame == WRONG or len(raw) < len(whole) or BROKEN in raw
    closes = waits or draw(st.booleans())
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = tuple(raw[a:b] for a, b in pairwise([0, *cuts, len(raw)]) if a < b)
    return Answer(pieces, draw(st.sampled_from(["POST", "GET", "HEAD"])), closes)


WRONG = b"Content-Length: 401"


def _sized(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length: %d" % len(body), body


def _wrong(body: bytes) -> tuple[bytes, bytes]:
    """Less than it announces: the generated bodies are shorter."""
    return WRONG, body


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> tuple[bytes, bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
    extension = draw(st.sampled_from([b"", b";a=1", b' ;b="c"'[1:]]))
    chunks = [
        b"%x%b\r\n%b\r\n" % (b - a, extension, body[a:b]) for a, b in pairwise([0, *cuts, len(body)]) if a < b
    ]
    if draw(st.integers(0, 5)) == 0:
        chunks.insert(draw(st.integers(0, len(chunks))), draw(BREAKS))
    trailers = draw(st.sampled_from([b"", b"x-sum: 1\r\n"]))
    return b"Transfer-Encoding: chunked", b"".join([*chunks, b"0\r\n", trailers, b"\r\n"])


Outcome = tuple[object, ...]


async def _outcome(sender: httpx2.AsyncBaseTransport, asked: httpx2.Request) -> Outcome:
    """What a caller sees."""
    try:
        response = await sender.handle_async_request(asked)
    except httpx2.TransportError as error:
        return ("no answer", type(error))
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    seen = (response.status_code, response.headers.raw)
    body = b""
    try:
        async for piece in response.stream:
            body += piece
    except httpx2.TransportError as error:
        return (*seen, "broken body", type(error))
    finally:
        await response.stream.aclose()
    return (*seen, body)


class Agreement:
    """Both transports, and the upstream that they ask, on one loop for all examples."""

    def __init__(self) -> None:
        self._answer = Answer((), "GET", True)
        self._runner = asyncio.Runner()
        self._server = self._runner.run(self._open())
        self._tls = httpx2.create_ssl_context()  # takes longer than all the rest

    async def _open(self) -> Server:
        self._serving = serving(self._say)
        return await self._serving.__aenter__()

    async def _say(self, peer: Peer) -> None:
        await peer.say(*self._answer.pieces)
        if self._answer.closes:
            peer.hang_up()

    def outcomes(self, answer: Answer) -> list[Outcome]:
        """Ours and theirs."""
        self._answer = answer
        return self._runner.run(self._ask(answer))

    async def _ask(self, answer: Answer) -> list[Outcome]:
        async with (
            asyncio.timeout(20),
            transport() as ours,
            httpx2.AsyncHTTPTransport(verify=self._tls) as theirs,
        ):
            clocks = {"connect": 5, "read": 5, "write": 5, "pool": 5}
            return [
                await _outcome(sender, request(self._server.port, method=answer.method, clocks=clocks))
                for sender in (ours, theirs)
            ]

    def close(self) -> None:
        """End the upstream and the loop."""
        self._runner.run(self._serving.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def agreement() -> Iterator[Agreement]:
    both = Agreement()
    yield both
    both.close()


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers())
def test_our_transport_and_httpx2s_own_agree(agreement: Agreement, answer: Answer) -> None:
    ours, theirs = agreement.outcomes(answer)
    assert ours == theirs
