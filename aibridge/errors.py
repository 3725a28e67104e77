"""What can go wrong, once: each kind has a status, a code and a type of OpenAI's error object.

A message is one sentence that names what failed and where to look; never a key, a URL with a
credential, or a stack. Dialects turn these into their own error bodies; `web` gives the status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

CLIENT_LEFT = 499
"""nginx's status for a client that closed the connection before there was an answer."""


class Kind(Enum):
    """A kind of failure: HTTP status, `code`, `type` (2-wire.md, Errors)."""

    BAD_REQUEST = (400, "invalid_request_error", "invalid_request_error")
    INVALID_KEY = (401, "invalid_api_key", "invalid_request_error")
    FORBIDDEN = (403, "forbidden", "invalid_request_error")
    MODEL_NOT_ALLOWED = (403, "model_not_allowed", "invalid_request_error")
    NOT_FOUND = (404, "not_found", "invalid_request_error")
    MODEL_NOT_FOUND = (404, "model_not_found", "invalid_request_error")
    METHOD_NOT_ALLOWED = (405, "method_not_allowed", "invalid_request_error")
    CONFLICT = (409, "conflict", "invalid_request_error")
    TOO_LARGE = (413, "request_too_large", "invalid_request_error")
    UNSUPPORTED_MEDIA = (415, "unsupported_media_type", "invalid_request_error")
    RATE_LIMITED = (429, "rate_limit_exceeded", "rate_limit_error")
    BUDGET_EXCEEDED = (429, "budget_exceeded", "insufficient_quota")
    INTERNAL = (500, "internal_error", "server_error")
    UPSTREAM_UNREACHABLE = (502, "upstream_unreachable", "server_error")
    UPSTREAM_INVALID = (502, "upstream_invalid_response", "server_error")
    OVERLOADED = (503, "overloaded", "server_error")
    LIMITER_UNAVAILABLE = (503, "limiter_unavailable", "server_error")
    TOOLS_UNAVAILABLE = (503, "tools_unavailable", "server_error")
    UPSTREAM_TIMEOUT = (504, "upstream_timeout", "server_error")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def code(self) -> str:
        """The `code` of the error object."""
        return self.value[1]

    @property
    def type(self) -> str:
        """The `type` of the error object."""
        return self.value[2]


@dataclass
class BridgeError(Exception):
    """A failure that aibridge itself reports to the client."""

    kind: Kind
    message: str
    param: str | None = None
    retry_after: int | None = None
    """Seconds, sent as `Retry-After`."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers of the response."""
    reason: str = ""
    """A word for operators, where the kind says less."""

    def __str__(self) -> str:
        return self.message


def error_headers(error: BridgeError) -> list[tuple[bytes, bytes]]:
    """The headers of an error response of our own."""
    headers = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return [*headers, *error.headers]


class ErrorShape(Protocol):
    """How a client is told of failures before an answer has begun."""

    def error_body(self, error: BridgeError) -> bytes:
        """The body of an error response."""
        ...


@dataclass
class UpstreamRefused(Exception):
    """The upstream answered with an error status; status, headers and body reach the client as they are."""

    upstream: str
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def __str__(self) -> str:
        return f"upstream '{self.upstream}' answered {self.status}"


class ConfigError(Exception):
    """The configuration is wrong; the message names file, line, key and remedy in one sentence."""
