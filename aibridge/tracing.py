"""W3C trace context: the place of an exchange in a trace, and the ids of the spans within it.

Ids are derived from the exchange's, so that who writes a header and who exports the spans agree without
a word between them. Also which exchange the running code belongs to, for the log. What a span says is left
to `telemetry`.
"""

import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b

TRACEPARENT = b"traceparent"
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
HeaderPairs = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that an exchange belongs to."""

    trace_id: str
    """32 hexadecimal digits."""
    root: str
    """The span of the exchange itself, 16 hexadecimal digits."""
    parent: str | None = None
    """The caller's span."""
    sampled: bool = True

    @classmethod
    def of(cls, headers: HeaderPairs, exchange_id: str) -> "Trace":
        """The caller's trace where its headers name one; else a new one whose id is the exchange's."""
        told = next((value.decode("latin-1").strip() for name, value in headers if name == TRACEPARENT), "")
        root = _span_id(exchange_id, "exchange")
        if found := _FORM.fullmatch(told):
            return cls(found[1], root, found[2], bool(int(found[3], 16) & 1))
        return cls(exchange_id.replace("-", ""), root)

    def round(self, number: int) -> str:
        """The span of a round, counted from 1."""
        return _span_id(self.root, f"round {number}")

    def call(self, number: int, call_id: str) -> str:
        """The span of a call that was made in the round `number`."""
        return _span_id(self.root, f"call {number} {call_id}")

    def header(self, span: str) -> str:
        """`traceparent` for what happens within `span`."""
        return f"00-{self.trace_id}-{span}-{'01' if self.sampled else '00'}"

    def onto(self, headers: HeaderPairs, span: str) -> HeaderPairs:
        """`headers` with this place instead of the caller's."""
        others = [pair for pair in headers if pair[0] != TRACEPARENT]
        return [*others, (TRACEPARENT, self.header(span).encode())]


_serving: ContextVar[tuple[str, Trace | None] | None] = ContextVar("serving", default=None)


class serving:
    """What runs within belongs to this exchange; the log says so."""

    def __init__(self, exchange_id: str, trace: Trace | None) -> None:
        self._serves = exchange_id, trace

    def __enter__(self) -> None:
        self._token = _serving.set(self._serves)

    def __exit__(self, *_raised: object) -> None:
        _serving.reset(self._token)


def served() -> dict[str, str]:
    """The exchange that the running code belongs to, and its trace, for a line of the log."""
    serves = _serving.get()
    if serves is None:
        return {}
    exchange_id, trace = serves
    return {"exchange": exchange_id, "trace": trace.trace_id} if trace else {"exchange": exchange_id}


def _span_id(*parts: str) -> str:
    return blake2b(" ".join(parts).encode(errors="surrogatepass"), digest_size=8).hexdigest()
