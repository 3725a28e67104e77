"""Whose call is it? Decided by the name, as soon as the pieces of it that came allow.

A name is decided when it equals an offered name that is no prefix of another, when it can no longer
become one of ours, or when the call has gone on to its arguments (2-wire.md, "The stream to the client").
"""

from functools import lru_cache


class Names:
    """The names offered in an exchange: the injected tools' and the client's own."""

    def __init__(self, injected: frozenset[str], clients: frozenset[str]) -> None:
        self._injected, self._clients = injected, clients
        self.any_injected = bool(injected)
        self._offered = injected | clients if clients else injected
        self._prefixes = _prefixes(injected)

    def offers(self, name: str) -> bool:
        """True for a name that stands in the request."""
        return name in self._offered

    def is_injected(self, name: str, *, whole: bool) -> bool | None:
        """True for ours, False for the client's, None while it is open; `whole`: no more is to come."""
        if not self._injected:
            return False
        if whole or (name in self._offered and not self._is_prefix(name)):
            return name in self._injected or (name not in self._clients and self._under_ours(name))
        return None if self._may_become_ours(name) else False

    def _is_prefix(self, name: str) -> bool:
        return any(other != name and other.startswith(name) for other in self._offered)

    def _under_ours(self, name: str) -> bool:
        return any(name.startswith(prefix) for prefix in self._prefixes)

    def _may_become_ours(self, name: str) -> bool:
        ours = self._injected | self._prefixes
        return self._under_ours(name) or any(other.startswith(name) for other in ours)


@lru_cache(maxsize=128)
def _prefixes(injected: frozenset[str]) -> frozenset[str]:
    """What the names of each server begin with.

    A name under a prefix of ours that nobody offered is the model's mistake: the model is told of it as of a
    failed call, rather than the client, which knows nothing of that server.
    """
    return frozenset(name.split("__", 1)[0] + "__" for name in injected if "__" in name)
