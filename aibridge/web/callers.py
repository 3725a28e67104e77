"""Who is calling: told by the credential, the program by its user agent, the session by its headers.

One door for all routes: `identify` names the caller or refuses, `admit` counts the request where the caller
has a key of ours. What keys and limits are is left to `access`, through the protocols here.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import structlog

from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Caller, Keep, Rights
from aibridge.web.headers import Scope

CREDENTIALS = (b"x-aibridge-key", b"authorization", b"x-api-key", b"api-key")
OUR_KEYS = "sk-aib-"
MISSING = "this bridge needs a key of its own (sk-aib-…): send it as a bearer, x-api-key or x-aibridge-key"
IN_URL = "a key does not belong into a URL; send it as a bearer"
CLIENTS: Mapping[str, str] = {
    "codex": "codex",
    "claude": "claude-code",
    "opencode": "opencode",
    "cursor": "cursor",
    "cline": "cline",
    "roo-code": "roo-code",
    "kilo-code": "kilo-code",
    "zed/": "zed",
    "githubcopilotchat": "copilot",
    "copilot/": "copilot",
    "charm crush": "crush",
    "aider": "aider",
    "agents/python": "openai-agents",
    "pydantic-ai": "pydantic-ai",
    "ai-sdk": "ai-sdk",
    "asyncopenai/python": "openai-python",
    "openai/python": "openai-python",
    "openai/js": "openai-js",
    "curl": "curl",
}
"""Beginnings of user agents, the more telling ones first."""
AGENTS = frozenset(
    {
        "codex",
        "claude-code",
        "opencode",
        "cursor",
        "cline",
        "roo-code",
        "kilo-code",
        "zed",
        "copilot",
        "crush",
        "aider",
    }
)
"""Clients that hold a conversation by themselves and watch the size of their context."""
TOOL_BRINGERS = frozenset({"codex", "claude-code", "opencode"})
"""Agents whose own turns always bring tools: a request of theirs without any asks for a title or summary."""
SESSIONS = (
    b"session-id",
    b"session_id",
    b"x-session-id",
    b"x-claude-code-session-id",
    b"x-interaction-id",
    b"x-client-session-id",
    b"x-kilocode-taskid",
)
WANTED = frozenset({*CREDENTIALS, *SESSIONS, b"user-agent", b"originator"})
Mode = Literal["off", "optional", "required"]
REMEMBERED = 1024
"""Clients that came last: each sends the same headers again and again."""
REFUSALS = frozenset({401, 403, 429})
"""Statuses of errors that refuse a request for who asks, or how much."""

log = structlog.get_logger(__name__)


class Key(Protocol):
    """What is known of a key of ours."""

    @property
    def id(self) -> str:
        """As the records name it; no secret."""
        ...

    @property
    def rights(self) -> Rights:
        """What it may use."""
        ...

    @property
    def keep(self) -> Keep | None:
        """Which texts the records keep of its exchanges."""
        ...


class Keys(Protocol):
    """The keys of ours."""

    def find(self, text: str) -> Key:
        """The key with this text. Raises BridgeError (401, 503)."""
        ...


class Lease(Protocol):
    """A request that was counted."""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """For the answer."""
        ...

    def serves(self, exchange_id: str) -> None:
        """The exchange that it became."""
        ...

    def release(self) -> None:
        """It has ended; never waits or raises."""
        ...


class Gate(Protocol):
    """Limits and budgets of keys."""

    async def admit(self, caller: Caller, size: int) -> Lease | None:
        """Count a request of `size` bytes; None where nothing is to count.

        Raises BridgeError (429, 503).
        """
        ...


def _uncounted(_reason: str) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where every request comes in."""

    mode: Mode
    secret: Callable[[], bytes]
    """Of the HMAC that tells credentials apart."""
    keys: Callable[[], Keys]
    gate: Callable[[], Gate]
    count: Callable[[str], None] = _uncounted
    """Counts refusals by their reasons."""

    def identify(self, scope: Scope) -> Caller:
        """The caller. Raises BridgeError (401)."""
        if OUR_KEYS.encode() in scope.get("query_string", b""):
            raise BridgeError(Kind.INVALID_KEY, IN_URL, reason="key_in_url")
        told = _told(tuple([pair for pair in scope["headers"] if pair[0] in WANTED]))
        if told.own is not None:
            key = self._key(told.own)
            return Caller(key.id, told.client, told.agent, told.session, key.keep, key.id, key.rights)
        if self.mode == "required":
            raise BridgeError(Kind.INVALID_KEY, MISSING, reason="no_key")
        return _stranger(told, self.secret())

    async def admit(self, caller: Caller, size: int) -> Lease | None:
        """See Gate."""
        return None if caller.key_id is None else await self.gate().admit(caller, size)

    def refused(self, error: BridgeError, scope: Scope) -> None:
        """Tell operators of a refusal; other errors are none."""
        if error.kind.status in REFUSALS or error.kind is Kind.LIMITER_UNAVAILABLE:
            reason = error.reason or error.kind.code
            self.count(reason)
            told = {"status": error.kind.status, "path": scope["path"], "error": error.message}
            log.info("a request was refused", reason=reason, **told)

    def _key(self, text: str) -> Key:
        if self.mode == "off":
            raise BridgeError(Kind.INVALID_KEY, "keys of aibridge are not used here: access.keys is off")
        return self.keys().find(text)


def release(lease: Lease | None) -> None:
    """The request has ended."""
    if lease is not None:
        lease.release()


class _Told(NamedTuple):
    """What the headers of a request say of who sends it."""

    own: str | None
    """A key of ours."""
    other: str | None
    """Another credential."""
    client: str | None
    agent: str | None
    session: str | None


@lru_cache(REMEMBERED)
def _told(headers: tuple[tuple[bytes, bytes], ...]) -> _Told:
    found = dict(headers)
    presented = [_bare(found[name].decode("latin-1").strip()) for name in CREDENTIALS if name in found]
    agent = _text(found, b"user-agent")
    return _Told(
        own=next((text for text in presented if text.startswith(OUR_KEYS)), None),
        other=next(filter(None, presented), None),
        client=_client(_text(found, b"originator") or agent or ""),
        agent=agent,
        session=next((text for name in SESSIONS if name in found and (text := _text(found, name))), None),
    )


@lru_cache(REMEMBERED)
def _stranger(told: _Told, secret: bytes) -> Caller:
    """A caller without a key of ours: an HMAC of the credential tells callers apart in the records, and
    cannot be turned back."""
    if told.other is None:
        return Caller("anonymous", told.client, told.agent, told.session)
    fingerprint = hmac.digest(secret, told.other.encode(), "sha256").hex()[:32]
    return Caller(f"hmac-{fingerprint}", told.client, told.agent, told.session)


def _text(found: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = found.get(name)
    return None if value is None else value.decode("latin-1").strip()


def _bare(credential: str) -> str:
    """A credential without its scheme, whose case does not matter (RFC 9110, 11.1)."""
    return credential[7:].strip() if credential[:7].lower() == "bearer " else credential


def _client(agent: str) -> str | None:
    lower = agent.lower()
    return next((name for start, name in CLIENTS.items() if lower.startswith(start)), None)
