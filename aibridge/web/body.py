"""A request's body: read whole within a bound, and decoded where the client compressed it."""

import zlib
from collections.abc import Callable

import brotli
from starlette.types import Receive

from aibridge.errors import BridgeError, Kind
from aibridge.web.headers import Scope, header

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
except ImportError:
    from backports import zstd


class ClientLeft(Exception):
    """The client closed the connection before its request was whole."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The decoded body. Raises BridgeError (413, 415, 400) and ClientLeft."""
    length = header(scope, b"content-length")
    if length and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    body, more = await read_until(receive, limit)
    if more or len(body) > limit:
        raise _too_large(limit)
    return decode(body, header(scope, b"content-encoding"), limit)


async def read_until(receive: Receive, limit: int) -> tuple[bytes, bool]:
    """The body as it came, until it is over `limit`, and whether there is more. Raises ClientLeft."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = bool(message.get("more_body"))
        if size > limit or not more:
            return b"".join(pieces), more


def decode(body: bytes, encoding: str | None, limit: int) -> bytes:
    """`body` without its content encodings. Raises BridgeError; never makes more than `limit` bytes."""
    if not encoding:
        return body
    names = [name.strip().lower() for name in encoding.split(",")]
    for name in reversed([name for name in names if name and name != "identity"]):
        if name not in DECODERS:
            known = ", ".join(DECODERS)
            raise BridgeError(
                Kind.UNSUPPORTED_MEDIA, f"content-encoding '{name}' is unknown; use one of {known}"
            )
        try:
            body = DECODERS[name](body, limit + 1)
        except (ValueError, EOFError, zlib.error, brotli.error, zstd.ZstdError):
            raise BridgeError(Kind.BAD_REQUEST, f"the body is no valid {name}") from None
        if len(body) > limit:
            raise _too_large(limit)
    return body


def _zlib(window: int) -> Callable[[bytes, int], bytes]:
    def decompress(body: bytes, most: int) -> bytes:
        decoder = zlib.decompressobj(window)
        found = decoder.decompress(body, most)
        return _whole(found, most, ended=decoder.eof, more=decoder.unused_data)

    return decompress


def _brotli(body: bytes, most: int) -> bytes:
    decoder = brotli.Decompressor()
    found: bytes = decoder.process(body, output_buffer_limit=most)
    return _whole(found, most, ended=decoder.is_finished())


def _zstd(body: bytes, most: int) -> bytes:
    decoder = zstd.ZstdDecompressor()
    found = decoder.decompress(body, max_length=most)
    return _whole(found, most, ended=decoder.eof, more=decoder.unused_data)


def _whole(found: bytes, most: int, *, ended: bool, more: bytes = b"") -> bytes:
    """What was found, if it is all; a second member is refused, rather than dropped in silence."""
    if (not ended and len(found) < most) or more:
        raise ValueError("cut short, or more after its end")
    return found


DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _zlib(31),
    "x-gzip": _zlib(31),
    "deflate": _zlib(15),
    "br": _brotli,
    "zstd": _zstd,
}


def _too_large(limit: int) -> BridgeError:
    return BridgeError(Kind.TOO_LARGE, f"the body is over {limit} bytes, the limit `server.max_body`")
