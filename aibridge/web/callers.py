"""Who is calling: told by the credential, the program by its user agent, the session by its headers."""

import hmac
from collections.abc import Mapping

from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Caller
from aibridge.web.headers import Scope, header

CREDENTIALS = (b"x-aibridge-key", b"authorization", b"x-api-key", b"api-key")
OUR_KEYS = "sk-aib-"
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


def identify(scope: Scope, secret: bytes, asked_session: str | None = None) -> Caller:
    """The caller. Raises BridgeError (401) for a key of ours that is not known."""
    agent = header(scope, b"user-agent")
    sessions = (header(scope, name) for name in SESSIONS)
    return Caller(
        id=_caller_id(scope, secret),
        client=_client(header(scope, b"originator") or agent or ""),
        user_agent=agent,
        session_id=next(filter(None, sessions), asked_session),
    )


def _caller_id(scope: Scope, secret: bytes) -> str:
    """An HMAC of the credential: tells callers apart in the records and cannot be turned back."""
    presented = [_bare(value) for name in CREDENTIALS if (value := header(scope, name))]
    if any(credential.startswith(OUR_KEYS) for credential in presented):
        raise BridgeError(Kind.INVALID_KEY, "this aibridge key is unknown, expired or revoked")
    if not presented:
        return "anonymous"
    return "hmac-" + hmac.digest(secret, presented[0].encode(), "sha256").hex()[:32]


def _bare(credential: str) -> str:
    """A credential without its scheme, whose case does not matter (RFC 9110, 11.1)."""
    return credential[7:].strip() if credential[:7].lower() == "bearer " else credential


def _client(agent: str) -> str | None:
    lower = agent.lower()
    return next((name for start, name in CLIENTS.items() if lower.startswith(start)), None)
