"""Headers on the client's side: which of the upstream's reach the client, and finding one in a scope."""

from collections.abc import Collection, Iterable, MutableMapping
from typing import Any

Pairs = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]

NOT_FOR_CLIENTS = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-encoding",
        b"content-length",
        b"set-cookie",
        b"alt-svc",
    }
)
"""Of one connection, of the body as it travelled, or of the upstream's own site."""
WITHOUT_THE_BODYS = NOT_FOR_CLIENTS - {b"content-encoding", b"content-length"}


RATES = b"x-ratelimit-"


def to_client(
    upstream: Iterable[tuple[bytes, bytes]],
    added: Collection[tuple[bytes, bytes]],
    exchange_id: bytes,
    *,
    verbatim: bool = False,
) -> Pairs:
    """The response headers: the upstream's, less what is not for the client, and `added`.

    `verbatim`: the body goes on as it travels, and so do the headers that say how it is encoded.
    """
    pairs = [(name.lower(), value) for name, value in upstream]
    found = dict(pairs)
    dropped = WITHOUT_THE_BODYS if verbatim else NOT_FOR_CLIENTS
    if b"connection" in found:
        told = (value for name, value in pairs if name == b"connection")
        dropped |= {token.strip().lower() for value in told for token in value.split(b",")}
    kept = [pair for pair in pairs if pair[0] not in dropped]
    if any(name.startswith(RATES) for name, _ in added):  # a key of ours has limits: these count for it
        kept = [pair for pair in kept if not pair[0].startswith(RATES)]
    if b"x-request-id" not in found or b"x-request-id" in dropped:
        kept.append((b"x-request-id", exchange_id))  # the OpenAI SDKs show it in every error
    return [*kept, (b"x-aibridge-exchange-id", exchange_id), *added]


def header(scope: Scope, name: bytes) -> str | None:
    """The value of the request header `name` (lower case), the last where it stands twice."""
    known: dict[bytes, bytes] | None = scope.get("aibridge.headers")
    if known is None:
        known = scope["aibridge.headers"] = dict(scope["headers"])  # a request asks for some ten
    value = known.get(name)
    return None if value is None else value.decode("latin-1").strip()
