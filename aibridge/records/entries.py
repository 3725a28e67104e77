"""Facts as journal entries: JSON objects with the fact's fields, its kind under `fact`, defaults left out.

Texts that are not to be kept are left out here, and secrets in the others masked, so that they reach
neither journal nor database. What an entry becomes in the database is in `rows`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import convert, to_builtins
from msgspec.json import Decoder
from msgspec.json import Encoder as JsonEncoder
from msgspec.structs import replace

from aibridge.config import Records
from aibridge.facts import AttemptFailed, CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.nouns import Caller, Keep
from aibridge.records.redaction import Redaction
from aibridge.records.storable import nests, shallow, storable_value

TEXTS: Mapping[type, tuple[str, ...]] = {
    ExchangeStarted: ("prompt", "metadata", "user", "path"),
    RoundEnded: ("thought",),
    CallEnded: ("arguments", "result", "error"),
    AttemptFailed: (),
    ExchangeEnded: ("error_message",),
}
"""What people and models wrote, and so may hold secrets; beside them the caller's texts."""
MOST_APART = 10_000
NUL = b"\\u0000"
"""As JSON has it; maybe only what looks like it."""
CALLERS_REMEMBERED = 1024
"""Those that asked last: the same ones ask again and again."""

_write = JsonEncoder(enc_hook=str).encode
_read: Callable[[bytes], Fact] = Decoder(Fact).decode


class Encoder:
    """What turns a fact into an entry, as the configuration and the caller's key want it."""

    def __init__(self, config: Records) -> None:
        self._default = Keep(config.prompts, config.arguments, config.results)
        self._withheld = _withheld(self._default)
        self._redaction = Redaction(config.redact)
        self._caller = lru_cache(CALLERS_REMEMBERED)(self._redacted_caller)
        self._apart: OrderedDict[str, frozenset[str]] = OrderedDict()
        """What is withheld of exchanges whose caller's key wants something else; there still when a late
        call ends."""

    def __call__(self, fact: Fact) -> bytes:
        """The entry; raises ValueError, TypeError or RecursionError for what JSON cannot hold."""
        changes = self._changes(fact)
        kept = replace(fact, **changes) if changes else fact
        try:
            return _write(kept)
        except UnicodeEncodeError:  # half a surrogate pair
            return _write(storable_value(to_builtins(kept)))

    def _changes(self, fact: Fact) -> dict[str, Any]:
        """What is kept instead of the fact's own values."""
        withheld = self._withheld_of(fact)
        changes: dict[str, Any] = {}
        if isinstance(fact, ExchangeStarted):
            if (caller := self._caller(fact.caller)) != fact.caller:
                changes["caller"] = caller
            if fact.trace is not None:
                changes["trace"] = None
        elif isinstance(fact, CallEnded) and fact.result is not None:
            changes["result_chars"] = len(fact.result)
        elif isinstance(fact, RoundEnded) and fact.usage.other and nests(fact.usage.other):
            changes["usage"] = replace(fact.usage, other=shallow(fact.usage.other))
        for name in TEXTS[type(fact)]:
            value = getattr(fact, name)
            if value is None:
                continue
            kept = None if name in withheld else self._redaction.value(value)
            if kept is not value:
                changes[name] = kept
        return changes

    def _withheld_of(self, fact: Fact) -> frozenset[str]:
        if isinstance(fact, ExchangeStarted) and fact.caller.keep is not None:
            withheld = self._apart[fact.exchange_id] = _withheld(fact.caller.keep.over(self._default))
            while len(self._apart) > MOST_APART:
                self._apart.popitem(last=False)
            return withheld
        return self._apart.get(fact.exchange_id, self._withheld) if self._apart else self._withheld

    def _redacted_caller(self, caller: Caller) -> Caller:
        """What the records tell of `caller`: not what its key allows."""
        client, agent, session = (
            text and self._redaction.text(text)
            for text in (caller.client, caller.user_agent, caller.session_id)
        )
        return Caller(caller.id, client, agent, session, key_id=caller.key_id)


def decode(payload: bytes) -> Fact:
    """The fact in `payload`, its texts storable; raises ValueError when there is none."""
    fact = _read(payload)  # which refuses half surrogate pairs
    return convert(storable_value(to_builtins(fact)), Fact) if NUL in payload else fact


@lru_cache
def _withheld(keep: Keep) -> frozenset[str]:
    """The texts that `keep` refuses."""
    withheld: set[str] = set() if keep.prompts else {"prompt", "thought"}
    withheld |= set() if keep.arguments else {"arguments"}
    withheld |= set() if keep.results else {"result"}
    return frozenset(withheld)
