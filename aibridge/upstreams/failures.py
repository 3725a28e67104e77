"""httpx2's exceptions as ours, once: what the client is told, and a word for records and metrics."""

import httpx2

from aibridge.errors import BridgeError, Kind

CONNECTION = frozenset({"connect_timeout", "unreachable", "closed", "broken", "empty"})
"""Failures of a connection: soon another one may serve. A clock that ran out has cost enough time."""


class AttemptError(BridgeError):
    """A request got no answer, or not the first byte of one; `code` says how in a word."""

    def __init__(self, kind: Kind, message: str, code: str) -> None:
        super().__init__(kind, message)
        self.code = code


def unanswered(upstream: str, error: Exception, *, proxied: bool) -> AttemptError:
    """`error` ended a request before the status of an answer was known."""
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return _timeout(upstream, "took no connection within its connect_timeout", "connect_timeout")
        case httpx2.WriteTimeout():
            return _timeout(upstream, "took nothing of the request within its idle_timeout", "idle_timeout")
        case TimeoutError() | httpx2.TimeoutException():
            return _timeout(upstream, "gave no answer within its first_byte_timeout", "first_byte_timeout")
        case httpx2.ConnectError() | httpx2.ProxyError():
            what, code = "cannot be reached", "unreachable"
        case _:
            what, code = "closed the connection", "closed"
    server = "proxy, its base_url and that both run" if proxied else "base_url and that the server runs"
    where = f"check upstreams.{upstream}.{server}"
    return AttemptError(Kind.UPSTREAM_UNREACHABLE, f"upstream '{upstream}' {what}; {where}", code)


def broken(upstream: str, error: Exception) -> AttemptError:
    """`error` ended an answer before its end."""
    if isinstance(error, httpx2.TimeoutException):
        return _timeout(upstream, "sent nothing more for its idle_timeout", "idle_timeout")
    what = "broke the connection in its answer"
    return AttemptError(Kind.UPSTREAM_INVALID, f"upstream '{upstream}' {what}", "broken")


def empty(upstream: str) -> AttemptError:
    """An answer ended before its first byte."""
    return AttemptError(Kind.UPSTREAM_INVALID, f"upstream '{upstream}' sent an empty answer", "empty")


def no_status(upstream: str, status: int) -> AttemptError:
    """What came has the form of an answer, and a status that none can have (RFC 9110, 15)."""
    what = f"answered {status}, which is no HTTP status of an answer"
    return AttemptError(Kind.UPSTREAM_INVALID, f"upstream '{upstream}' {what}", "invalid")


def resting(upstream: str, model: str, reason: str, seconds: float) -> AttemptError:
    """The breaker lets nothing through for `seconds`."""
    whole = max(1, -int(-seconds // 1))
    what = f"upstream '{upstream}' keeps failing for '{model}' (it {reason}) and is asked again in {whole} s"
    error = AttemptError(Kind.OVERLOADED, what, "breaker_open")
    error.retry_after = whole
    return error


def _timeout(upstream: str, what: str, code: str) -> AttemptError:
    return AttemptError(Kind.UPSTREAM_TIMEOUT, f"upstream '{upstream}' {what}", code)
