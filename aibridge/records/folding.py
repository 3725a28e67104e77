"""Folds entries of a journal into the database, a group in a transaction.

An entry that the database will never take is left out and told to the log, so that it does not hold up
those behind it.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from aibridge.records import logs
from aibridge.records.entries import decode
from aibridge.records.failures import EntryRefused
from aibridge.records.giving_way import give_way
from aibridge.records.pricing import NO_PRICES, Prices
from aibridge.records.rows import Row, RowMaker
from aibridge.records.store import Store

AT_A_TIME = 16
"""Entries that are read without a pause: some 60 µs."""


def fold(store: Store, payloads: Sequence[bytes], worker: str, prices: Prices = NO_PRICES) -> int:
    """Fold entries of the journal `worker`; how many were left out. Raises DatabaseFailing."""
    maker = RowMaker(worker, prices, store.database.time_value)
    readable = list(_readable(payloads, maker))
    left_out = len(payloads) - len(readable)
    try:
        store.write(chain.from_iterable(readable))
    except EntryRefused:
        left_out += sum(not _fold_alone(store, found) for found in readable)
    return left_out


def _readable(payloads: Sequence[bytes], maker: RowMaker) -> Iterator[Sequence[Row]]:
    """The rows of the entries that can be read; lets requests have the interpreter in between."""
    for number, payload in enumerate(payloads, 1):
        if number % AT_A_TIME == 0:
            give_way()
        if (found := _rows(payload, maker)) is not None:
            yield found


def _rows(payload: bytes, maker: RowMaker) -> Sequence[Row] | None:
    try:
        return maker(decode(payload))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError, RecursionError) as error:
        logs.error("a journal entry cannot be read and is left out", error=repr(error))
        return None


def _fold_alone(store: Store, found: Sequence[Row]) -> bool:
    try:
        store.write(found)
    except EntryRefused as error:
        logs.error("the database refuses a record, it is left out", error=str(error))
        return False
    return True
