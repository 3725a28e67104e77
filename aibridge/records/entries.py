"""Facts as journal entries: JSON objects with the fact's fields, its kind under `fact`.

Texts that are not to be kept are left out here, so that they reach neither journal nor database. What
an entry becomes in the database is in `rows`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from aibridge.config import Records
from aibridge.nouns import (
    CallEnded,
    Caller,
    ExchangeEnded,
    ExchangeStarted,
    Fact,
    RoundEnded,
    Usage,
    new_id,
)

KINDS: dict[type, str] = {
    ExchangeStarted: "started",
    RoundEnded: "round",
    CallEnded: "call",
    ExchangeEnded: "ended",
}
Shape = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]


def encoder(keep: Records) -> Callable[[Fact], bytes]:
    """What turns a fact into an entry without the texts that `keep` refuses.

    The result raises ValueError, TypeError or RecursionError for what JSON cannot hold.
    """
    withheld = _withheld(keep)
    shapes = {noun: _shape(noun, withheld) for noun in KINDS}

    def encode(fact: Fact) -> bytes:
        names, values = shapes[type(fact)]
        entry = dict(zip(names, values(fact), strict=True))
        entry["fact"] = KINDS[type(fact)]
        if type(fact) is CallEnded:
            entry["id"] = new_id()  # the row's key: providers repeat call ids
            entry["result_chars"] = None if fact.result is None else len(fact.result)
        return _write(entry).encode("ascii")

    return encode


def decode(payload: bytes) -> dict[str, Any]:
    """The entry in `payload`; raises ValueError when it is none."""
    entry = json.loads(payload)
    if not isinstance(entry, dict):
        raise ValueError("an entry is a JSON object")
    return entry


def _withheld(keep: Records) -> frozenset[str]:
    names = set() if keep.prompts else {"prompt", "thought"}
    names |= set() if keep.arguments else {"arguments"}
    return frozenset(names | (set() if keep.results else {"result"}))


def _shape(noun: Any, withheld: frozenset[str]) -> Shape:
    """The names that are kept of a noun, and what reads their values."""
    names = tuple(each.name for each in fields(noun) if each.name not in withheld)
    return names, attrgetter(*names)


PARTS = {noun: _shape(noun, frozenset()) for noun in (Caller, Usage)}


def _plain(value: Any) -> Any:
    """What stands in JSON for a value that is not of JSON."""
    if shape := PARTS.get(type(value)):
        return dict(zip(shape[0], shape[1](value), strict=True))
    return dict(value) if isinstance(value, Mapping) else str(value)


_write = json.JSONEncoder(separators=(",", ":"), skipkeys=True, default=_plain).encode
