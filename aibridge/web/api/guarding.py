"""Who may call `/api`: a hook that names the caller or refuses; by default only this machine."""

from collections.abc import Callable

from aibridge.errors import BridgeError, Kind
from aibridge.web.guard import from_this_machine
from aibridge.web.headers import Scope

Admin = Callable[[Scope], str]
"""Who is calling, as the audit names them. Raises BridgeError (401, 403)."""
THIS_MACHINE = "this machine"


def only_this_machine(scope: Scope) -> str:
    """The guard where there is no admin key."""
    if not from_this_machine(scope):
        raise BridgeError(
            Kind.FORBIDDEN, "/api is only for this machine; set access.admin_key and send it as bearer"
        )
    return THIS_MACHINE
