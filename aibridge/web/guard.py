"""Keeps pages of other origins, and names that were bent to this machine, away from a local bridge.

Without keys the `Host` has to be a loopback name or an allowed one (DNS rebinding), and a request with an
`Origin` comes from an allowed page (3-interface.md, "Who is calling").
"""

import ipaddress
from collections.abc import Collection, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Send

from aibridge.errors import BridgeError, Kind
from aibridge.web.headers import Scope, header
from aibridge.web.reply import send_error
from aibridge.web.shapes import shape_of

REMEMBERED = 256
"""Verdicts, by what was asked: clients say the same again and again."""


class Guard:
    """ASGI middleware that refuses requests by their `Host` and `Origin`."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._verdict = lru_cache(REMEMBERED)(self._judged)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 403, or hand on."""
        if scope["type"] == "http" and (refused := self._refusal(scope)):
            await send_error(send, refused, shape_of(scope["path"]))
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> BridgeError | None:
        return self._verdict(header(scope, b"host") or "", header(scope, b"origin") or "")

    def _judged(self, host: str, origin: str) -> BridgeError | None:
        host, origin = host.lower(), origin.lower()
        name = _name(host)
        if not (is_loopback(name) or name in self._hosts or "*" in self._hosts):
            sentence = f"the Host '{name}' is not served here; add it to server.allowed_hosts"
            return BridgeError(Kind.FORBIDDEN, sentence)
        if origin and origin not in self._origins and origin.partition("://")[2] != host:
            sentence = f"pages of {origin} may not call this bridge; add it to server.allowed_origins"
            return BridgeError(Kind.FORBIDDEN, sentence)
        return None


def guarded(app: ASGIApp, hosts: Collection[str], origins: Sequence[str]) -> ASGIApp:
    """`app` for these `Host` names, and for pages of these origins."""
    if origins:
        app = CORSMiddleware(
            app, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=["*"]
        )
    return Guard(app, hosts, origins)


def _name(host: str) -> str:
    """The name in a `Host` header, without its port; empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not close
        return ""


def is_loopback(host: str) -> bool:
    """True for names and addresses of this machine's own loopback."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def from_this_machine(scope: Scope) -> bool:
    """A loopback peer, a loopback `Host`, and no proxy in between."""
    client = scope.get("client")
    name = _name(header(scope, b"host") or "")
    proxied = any(key == b"forwarded" or key.startswith(b"x-forwarded-") for key, _ in scope["headers"])
    return client is not None and is_loopback(client[0]) and is_loopback(name) and not proxied
