"""Who may call `/api`: whoever has the admin key, or, where there is none, this machine alone."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from aibridge.errors import BridgeError, Kind
from aibridge.web.guard import from_this_machine
from aibridge.web.headers import Scope, header

Admin = Callable[[Scope], str]
"""Who is calling, as the audit names them. Raises BridgeError (401, 403)."""
THIS_MACHINE = "this machine"
ADMIN = "admin key"


def only_this_machine(scope: Scope) -> str:
    """The guard where there is no admin key."""
    if not from_this_machine(scope):
        sentence = "/api is only for this machine; set access.admin_key and send it as bearer"
        raise BridgeError(Kind.FORBIDDEN, sentence, reason="not_this_machine")
    return THIS_MACHINE


@dataclass(frozen=True, slots=True)
class AdminGuard:
    """The guard as the configuration wants it."""

    key: str | None = field(repr=False)

    def __call__(self, scope: Scope) -> str:
        """Who is calling. Raises BridgeError (401, 403)."""
        if self.key is None:
            return only_this_machine(scope)
        if not self._brings_key(scope):
            sentence = "/api needs the admin key: send access.admin_key as bearer"
            raise BridgeError(Kind.INVALID_KEY, sentence, reason="no_admin_key")
        return ADMIN

    def may_see(self, scope: Scope) -> bool:
        """Whether details may be told: to an admin, or on this machine."""
        return from_this_machine(scope) or (self.key is not None and self._brings_key(scope))

    def _brings_key(self, scope: Scope) -> bool:
        assert self.key is not None
        bearer = header(scope, b"authorization") or ""
        scheme, _, word = bearer.partition(" ")
        given = word.strip() if scheme.lower() == "bearer" else header(scope, b"x-api-key") or ""
        return hmac.compare_digest(given.encode(), self.key.encode())
