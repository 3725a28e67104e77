"""Opens the records: for a server that writes them, and for a command that reads them."""

from pathlib import Path

from aibridge.config import Records
from aibridge.records.failures import DatabaseFailing, RecordsError
from aibridge.records.journal import Journal
from aibridge.records.pricing import NO_PRICES, Prices
from aibridge.records.recorder import Recorder
from aibridge.records.store import Store
from aibridge.records.takeover import take_over
from aibridge.records.writer import Writer


def journal_folder(config: Records) -> Path:
    """The folder of all journals."""
    return Path(config.journal).expanduser()


def open_store(config: Records, prices: Prices = NO_PRICES) -> tuple[Store, str | None]:
    """The database, migrated, with what ended processes left folded in.

    Beside it a sentence where something could not be folded yet. Raises RecordsError.
    """
    store = Store(config.url)
    try:
        store.open()
        return store, take_over(journal_folder(config), store, prices)
    except OSError as error:
        store.close()
        raise _unusable(config, error) from error
    except RecordsError:
        store.close()
        raise


def open_recorder(config: Records, prices: Prices = NO_PRICES) -> Recorder:
    """See `aibridge.records.open_records`."""
    store, _ = open_store(config, prices)
    journal: Journal | None = None
    try:
        journal = Journal(journal_folder(config))
        secret = store.caller_secret()
        return Recorder(config, journal, store, Writer(journal, store, prices), secret)
    except (OSError, DatabaseFailing) as error:
        if journal is not None:
            journal.close()
        store.close()
        raise _unusable(config, error) from error


def _unusable(config: Records, error: Exception) -> RecordsError:
    if isinstance(error, DatabaseFailing):
        return RecordsError(f"the records' database {config.url} cannot be used: {error}")
    return RecordsError(f"the journal folder {config.journal} (records.journal) cannot be used: {error}")
