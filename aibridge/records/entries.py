"""Facts as journal entries: JSON objects with the fact's fields, its kind under `fact`.

Texts that are not to be kept are left out here, and secrets in the others masked, so that they reach
neither journal nor database. What an entry becomes in the database is in `rows`.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from aibridge.config import Records
from aibridge.nouns import (
    AttemptFailed,
    CallEnded,
    Caller,
    ExchangeEnded,
    ExchangeStarted,
    Fact,
    Failure,
    Keep,
    RoundEnded,
    Usage,
    new_id,
)
from aibridge.records.redaction import Redaction

KINDS: dict[type, str] = {
    ExchangeStarted: "started",
    RoundEnded: "round",
    CallEnded: "call",
    AttemptFailed: "attempt",
    ExchangeEnded: "ended",
}
TEXTS: Mapping[type, tuple[str, ...]] = {
    ExchangeStarted: ("prompt", "metadata", "user", "path"),
    RoundEnded: ("thought",),
    CallEnded: ("arguments", "result", "error"),
    AttemptFailed: (),
    ExchangeEnded: ("error_message",),
}
"""What people and models wrote, and so may hold secrets; beside them the caller's texts."""
CALLERS_TEXTS = ("client", "user_agent", "session_id")
OF_TELEMETRY = frozenset({"trace", "finish_reason"})
MOST_APART = 10_000
Shape = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]


class Encoder:
    """What turns a fact into an entry, as the configuration and the caller's key want it."""

    def __init__(self, config: Records) -> None:
        self._default = Keep(config.prompts, config.arguments, config.results)
        self._redaction = Redaction(config.redact)
        self._callers_text = lru_cache(1024)(self._redaction.text)  # the same programs ask again and again
        self._shapes = _shapes(self._default)
        self._apart: OrderedDict[str, Mapping[type, Shape]] = OrderedDict()
        """Of exchanges whose caller's key wants something else; there still when a late call ends."""

    def __call__(self, fact: Fact) -> bytes:
        """The entry; raises ValueError, TypeError or RecursionError for what JSON cannot hold."""
        kind = type(fact)
        names, values = self._shapes_for(fact)[kind]
        entry = dict(zip(names, values(fact), strict=True))
        entry["fact"] = KINDS[kind]
        if isinstance(fact, CallEnded):
            entry["id"] = new_id()  # the row's key: providers repeat call ids
            entry["result_chars"] = None if fact.result is None else len(fact.result)
        elif isinstance(fact, ExchangeStarted):
            entry["caller"] = self._caller(fact.caller)
        for name in TEXTS[kind]:
            if entry.get(name) is not None:
                entry[name] = self._redaction.value(entry[name])
        return _write(entry).encode("ascii")

    def _shapes_for(self, fact: Fact) -> Mapping[type, Shape]:
        if isinstance(fact, ExchangeStarted) and fact.caller.keep is not None:
            shapes = _shapes(fact.caller.keep.over(self._default))
            self._apart[fact.exchange_id] = shapes
            while len(self._apart) > MOST_APART:
                self._apart.popitem(last=False)
            return shapes
        return self._apart.get(fact.exchange_id, self._shapes) if self._apart else self._shapes

    def _caller(self, caller: Caller) -> dict[str, Any]:
        told = dict(zip(CALLER[0], CALLER[1](caller), strict=True))
        for name in CALLERS_TEXTS:
            if told[name] is not None:
                told[name] = self._callers_text(told[name])
        return told


def decode(payload: bytes) -> dict[str, Any]:
    """The entry in `payload`; raises ValueError when it is none."""
    entry = json.loads(payload)
    if not isinstance(entry, dict):
        raise ValueError("an entry is a JSON object")
    return entry


@cache
def _shapes(keep: Keep) -> Mapping[type, Shape]:
    """The shapes of all facts without the texts that `keep` refuses."""
    withheld: set[str] = set() if keep.prompts else {"prompt", "thought"}
    withheld |= set() if keep.arguments else {"arguments"}
    withheld |= set() if keep.results else {"result"}
    withheld |= OF_TELEMETRY
    return {noun: _shape(noun, frozenset(withheld)) for noun in KINDS}


def _shape(noun: Any, withheld: frozenset[str]) -> Shape:
    """The names that are kept of a noun, and what reads their values."""
    names = tuple(each.name for each in fields(noun) if each.name not in withheld)
    return names, attrgetter(*names)


CALLER = _shape(Caller, frozenset({"keep", "rights"}))
PARTS = {noun: _shape(noun, frozenset()) for noun in (Usage, Failure)}


def _plain(value: Any) -> Any:
    """What stands in JSON for a value that is not of JSON."""
    if shape := PARTS.get(type(value)):
        return dict(zip(shape[0], shape[1](value), strict=True))
    return dict(value) if isinstance(value, Mapping) else str(value)


_write = json.JSONEncoder(separators=(",", ":"), skipkeys=True, check_circular=False, default=_plain).encode
