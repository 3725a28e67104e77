"""Ids of answers in the database: for every process, for a month."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from aibridge.records.answer_ids import AnswerIds
from aibridge.records.asking import Asking
from aibridge.records.owners import Owners
from aibridge.records.store import Store
from aibridge.records.tables import answer_ids
from tests.support.stores import in_file, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(in_file(tmp_path)) as store:
        yield store


def _put(ids: AnswerIds, contents: dict[str, bytes], user: str | None = None) -> None:
    asyncio.run(ids.put(contents, caller="hmac-1", user=user))


def test_what_one_process_keeps_another_finds(store: Store, tmp_path: Path) -> None:
    _put(AnswerIds(store, Asking()), {"resp_1": b"one", "resp_2": b"two"})
    with opened(in_file(tmp_path)) as other:
        assert asyncio.run(AnswerIds(other, Asking()).get(["resp_1", "resp_3"])) == {"resp_1": b"one"}


def test_the_newest_content_of_an_id_counts(store: Store) -> None:
    ids = AnswerIds(store, Asking())
    _put(ids, {"resp_1": b"one"})
    _put(ids, {"resp_1": b"two"})
    assert asyncio.run(ids.get(["resp_1"])) == {"resp_1": b"two"}


def test_an_id_is_forgotten_after_a_month(store: Store) -> None:
    _put(AnswerIds(store, Asking()), {"resp_1": b"one"})
    with store.writing() as connection:
        connection.execute(sa.update(answer_ids).values(kept_at=datetime.now(UTC) - timedelta(days=31)))
    assert asyncio.run(AnswerIds(store, Asking()).get(["resp_1"])) == {}
    _put(AnswerIds(store, Asking()), {"resp_2": b"two"})
    with store.reading() as connection:
        assert connection.execute(sa.select(answer_ids.c.id)).scalars().all() == ["resp_2"]


def test_whose_it_is_is_said_as_the_records_say_it(store: Store) -> None:
    ids = AnswerIds(store, Asking(), Owners(["(?i)lovelace"]))
    _put(ids, {"resp_1": b"one"}, user="ada Lovelace ghp_0123456789abcdefghijklmn \0")
    with store.reading() as connection:
        [(caller, user)] = connection.execute(sa.select(answer_ids.c.caller, answer_ids.c.user))
    assert (caller, user) == ("hmac-1", "ada **** ghp_**** \N{REPLACEMENT CHARACTER}")
