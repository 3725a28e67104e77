"""Groups of entries: what they become is what each would become alone, in either database."""

import sqlalchemy as sa

from aibridge.config import Records
from aibridge.facts import Fact
from aibridge.records.entries import Encoder
from aibridge.records.folding import fold
from aibridge.records.store import Store
from aibridge.records.tables import metadata
from tests.records.telling import Place, ended, round_ended, started, whole

MANY = 45
"""Exchanges: more than one statement takes, and some that are left over."""


def _entries() -> list[bytes]:
    encode = Encoder(Records())
    facts = [fact for number in range(MANY) for fact in whole(f"whole-{number:02}")]
    facts += [started("begun"), round_ended("begun", finish_reason="stop"), ended("of an older group")]
    facts += [started("named upstream", upstream="first"), ended("named upstream", upstream="second")]
    return [encode(fact) for fact in facts]


def test_a_group_becomes_what_its_entries_become_alone(store: Store, place: Place) -> None:
    entries = _entries()
    assert fold(store, entries, "worker-1") == 0
    together = place.dump()
    assert len(together["exchanges"]) == MANY + 3
    _empty(store)
    for entry in entries:
        fold(store, [entry], "worker-1")
    assert place.dump() == together


def test_a_group_that_comes_again_changes_nothing(store: Store, place: Place) -> None:
    entries = _entries()
    fold(store, entries, "worker-1")
    once = place.dump()
    fold(store, [*entries, *entries], "worker-1")
    assert place.dump() == once


def test_a_later_word_of_an_exchange_replaces_the_earlier_one_in_its_group(
    store: Store, place: Place
) -> None:
    encode = Encoder(Records())
    facts: list[Fact] = [started("a"), *[round_ended("a", model=f"model-{number}") for number in range(MANY)]]
    fold(store, [encode(fact) for fact in facts], "worker-1")
    assert place.select("SELECT model FROM token_usages") == [(f"model-{MANY - 1}",)]


def test_texts_that_look_like_what_databases_refuse_are_kept(store: Store, place: Place) -> None:
    kept = "\\u0000 \a \U0001f5fc \u2028"
    encode = Encoder(Records())
    fold(store, [encode(started("a", prompt=kept, metadata={"k": kept}))], "worker-1")
    assert place.select("SELECT text FROM prompts") == [(kept,)]


def _empty(store: Store) -> None:
    with store.writing() as connection:
        for name in ("exchanges", "token_usages", "tool_calls", "prompts", "thoughts"):
            connection.execute(sa.delete(metadata.tables[name]))
