"""Who sees which tools: client headers that are handed on to servers, and a catalog for each set of them.

Without servers that get headers there is one scope and one catalog. A catalog is made anew only when a
server's list has changed.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aibridge.tools.branches import Branches, Credential
from aibridge.tools.catalog import Catalog, Rules
from aibridge.tools.definitions import Listing

Headers = Iterable[tuple[bytes, bytes]]
MOST_CATALOGS = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """What a client hands on to each server that gets headers."""

    credentials: Mapping[str, Credential] = field(default_factory=dict, repr=False)
    digest: str = ""
    """Tells scopes apart; empty where nothing is handed on."""


NO_SCOPE = Scope()


class Scopes:
    """The scopes of all clients and their catalogs."""

    def __init__(self, branches: Sequence[Branches], rules: Mapping[str, Rules]) -> None:
        self._branches, self._rules = branches, rules
        self._catalogs: OrderedDict[str, tuple[Mapping[str, Listing], Catalog]] = OrderedDict()

    def of(self, headers: Headers) -> Scope:
        """The scope of a client that sent `headers`."""
        if not self._branches:
            return NO_SCOPE
        pairs = list(headers)
        credentials = {branches.name: branches.credential(pairs) for branches in self._branches}
        if not any(credentials.values()):
            return Scope(credentials)
        return Scope(credentials, hashlib.sha256(json.dumps(credentials).encode()).hexdigest())

    def catalog(self, digest: str, listed: Mapping[str, Listing]) -> Catalog:
        """The catalog of `listed` for the scope with this digest; the same one until a list changes."""
        known = self._catalogs.get(digest)
        if known is None or any(listing is not known[0].get(name) for name, listing in listed.items()):
            known = (listed, Catalog(listed, self._rules))
            self._catalogs[digest] = known
        self._catalogs.move_to_end(digest)
        if len(self._catalogs) > MOST_CATALOGS:
            self._catalogs.popitem(last=False)
        return known[1]
