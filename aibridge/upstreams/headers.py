"""Which of the client's headers go on to an upstream (2-wire.md, The request, headers)."""

from collections.abc import Iterable, Sequence

Pairs = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
OURS = frozenset({b"host", b"content-length", b"cookie", b"expect"})
ENCODING = frozenset({b"content-encoding", b"accept-encoding"})
"""Ours for bridged requests, whose bodies are read; they go on where both bodies travel untouched."""
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
OUR_PREFIX = b"x-aibridge-"
OUR_KEYS = b"sk-aib-"
"""A key of aibridge's own, which no upstream may ever see."""


def to_upstream(
    client: Iterable[tuple[bytes, bytes]],
    added: Sequence[tuple[bytes, bytes]],
    *,
    own_key: bool,
    verbatim: bool = False,
) -> Pairs:
    """The headers of an upstream request: the client's, less what is not for the upstream, and `added`.

    `verbatim`: the bodies travel as they are encoded; else the answer is asked for without encoding.
    """
    pairs = [(name.lower(), value) for name, value in client]
    dropped = HOP_BY_HOP | OURS | named_in_connection(pairs) | {name.lower() for name, _ in added}
    if not verbatim:
        dropped |= ENCODING
    if own_key:
        dropped |= CREDENTIALS
    kept = [
        (name, value)
        for name, value in pairs
        if name not in dropped and not name.startswith(OUR_PREFIX) and OUR_KEYS not in value
    ]
    return [*kept, *([] if verbatim else [(b"accept-encoding", b"identity")]), *added]


def named_in_connection(pairs: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Headers that `Connection` names are for the next hop only (RFC 9110, 7.6.1)."""
    values = [value for name, value in pairs if name.lower() == b"connection"]
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def presents_credential(client: Iterable[tuple[bytes, bytes]]) -> bool:
    """True where the client sends a credential that an upstream without a key of ours would get."""
    return any(name.lower() in CREDENTIALS and OUR_KEYS not in value for name, value in client)
