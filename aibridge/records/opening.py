"""Opens the records: for a server that writes them, and for a command that reads them."""

import mmap
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aibridge.config import Records
from aibridge.records import files, logs
from aibridge.records.asking import Asking
from aibridge.records.caller_secret import CallerSecret
from aibridge.records.failures import OFF, DatabaseFailing, RecordsError
from aibridge.records.journal import SEGMENT_SIZE, Journal
from aibridge.records.keeper import Keeper
from aibridge.records.pricing import NO_PRICES, Prices
from aibridge.records.recorder import Recorder
from aibridge.records.retention import Retention
from aibridge.records.room import Room
from aibridge.records.store import Store
from aibridge.records.takeover import TakingOver, take_over
from aibridge.records.writer import Writer


def journal_folder(config: Records) -> Path:
    """The folder of all journals."""
    return Path(config.journal).expanduser()


def is_anything(config: Records) -> bool:
    """Whether there are records: a database, or journals that are yet to be folded into one."""
    folder, store = journal_folder(config), Store(config.url)
    try:
        return store.exists or (folder.is_dir() and bool(files.journals(folder)))
    finally:
        store.close()


def open_store(config: Records, prices: Prices = NO_PRICES) -> tuple[Store, str | None]:
    """The database, migrated, with what ended processes left folded in.

    Beside it a sentence where something could not be folded yet. Raises RecordsError.
    """
    if not config.enabled:
        raise RecordsError(f"{OFF}; with true, what was recorded before can be read")
    store = Store(config.url)
    try:
        store.open()
        return store, take_over(journal_folder(config), store, prices)
    except (OSError, RecordsError, DatabaseFailing) as error:
        store.close()
        if isinstance(error, DatabaseFailing):
            raise RecordsError(f"the records' database {config.url} cannot be reached: {error}") from error
        raise _unusable(config, error) from error


def _segment_size(limit: int) -> int:
    """Bytes of a segment, small beside the limit of all of them."""
    return max(mmap.PAGESIZE, min(SEGMENT_SIZE, limit // 4))


def open_recorder(config: Records, prices: Prices = NO_PRICES) -> Recorder:
    """See `aibridge.records.open_records`."""
    store, folder = _served_store(config, prices), journal_folder(config)
    journal: Journal | None = None
    try:
        journal = Journal(folder, _segment_size(config.journal_limit))
        secret = CallerSecret(store, folder)
        writer = Writer(journal, store, prices)
        room = Room(journal, config.journal_limit, config.on_full)
        asking = Asking()
        chores: list[Callable[[], None]] = [room.look, writer.wake, secret.ask_again]
        chores += [partial(asking.look, store.check)]
        chores += [TakingOver(folder, store, prices), Retention(store, _retention(config))]
        keeper = Keeper(chores, writer)
        return Recorder(config, journal, store, writer, secret, keeper, room, asking)
    except OSError as error:
        if journal is not None:
            journal.close()
        store.close()
        raise _unusable(config, error) from error


def _retention(config: Records) -> float | None:
    return None if config.retention == "off" else config.retention


def _served_store(config: Records, prices: Prices) -> Store:
    """The database, opened; or one that is away, which the writer opens when it answers."""
    store = Store(config.url)
    try:
        store.open()
        take_over(journal_folder(config), store, prices)
    except DatabaseFailing as error:
        logs.warning(
            "the records' database cannot be reached; records gather in the journal until it can",
            url=str(config.url),
            error=str(error),
        )
    except (OSError, RecordsError) as error:
        store.close()
        raise _unusable(config, error) from error
    return store


def _unusable(config: Records, error: Exception) -> RecordsError:
    if isinstance(error, RecordsError):
        return error
    return RecordsError(f"the journal folder {config.journal} (records.journal) cannot be used: {error}")
