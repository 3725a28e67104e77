"""What exchanges used and did, kept: told without waiting, in a journal at once, in a database soon.

This room knows facts and tables; who tells the facts and who asks for the figures is left to others.
"""

from typing import TYPE_CHECKING

from aibridge.config import Records
from aibridge.records.asking import Asking
from aibridge.records.failures import DatabaseFailing, RecordsError
from aibridge.records.pricing import NO_PRICES, Prices, minute_of, prices_of
from aibridge.records.recorder import Recorder
from aibridge.records.unrecorded import Unrecorded

if TYPE_CHECKING:
    from aibridge.records.key_shelf import KeyShelf
    from aibridge.records.tool_shelf import ToolShelf

__all__ = [
    "DatabaseFailing",
    "Prices",
    "Recorder",
    "Recording",
    "RecordsError",
    "minute_of",
    "open_key_shelf",
    "open_records",
    "open_tool_shelf",
    "prices_of",
    "records_for",
]

Recording = Recorder | Unrecorded
"""The records of a process, or what stands in their place where they are off."""


def open_records(config: Records, prices: Prices = NO_PRICES) -> Recorder:
    """Open the records for a process that writes them: migrate, take over dead journals, start the thread.

    Blocks on the disk. Raises RecordsError with one sentence.
    """
    from aibridge.records.opening import open_recorder  # noqa: PLC0415 - SQLAlchemy costs 0.4 s

    return open_recorder(config, prices)


def records_for(config: Records, prices: Prices = NO_PRICES) -> Recording:
    """What a process that serves tells its facts to; see `open_records`."""
    return open_records(config, prices) if config.enabled else Unrecorded()


def open_tool_shelf(config: Records) -> "ToolShelf | None":
    """Open what is kept of MCP servers, for a command that writes no records; None where nothing was yet.

    Blocks on the disk. Raises RecordsError with one sentence.
    """
    from aibridge.records.store import Store  # noqa: PLC0415 - SQLAlchemy costs 0.4 s
    from aibridge.records.tool_shelf import ToolShelf  # noqa: PLC0415 - loads it too

    if not config.enabled:
        return None
    store = Store(config.url)
    if not store.exists:
        return None
    try:
        store.open()
    except (RecordsError, DatabaseFailing) as error:
        store.close()
        raise RecordsError(str(error)) from error
    return ToolShelf(store, Asking())


def open_key_shelf(config: Records, prices: Prices = NO_PRICES) -> "KeyShelf":
    """Open, or make, the database for a command that looks after keys.

    Blocks on the disk. Raises RecordsError with one sentence.
    """
    from aibridge.records.key_shelf import KeyShelf  # noqa: PLC0415 - loads SQLAlchemy
    from aibridge.records.opening import open_store  # noqa: PLC0415 - loads it too

    return KeyShelf(open_store(config, prices)[0])
