"""The records' database for commands: quiet, with what ended processes left; what fails ends the command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aibridge.cli.options import fail, warn

if TYPE_CHECKING:
    from aibridge.config import Records
    from aibridge.records import Prices
    from aibridge.records.store import Store


@contextmanager
def opened_store(settings: "Records", prices: "Prices | None" = None) -> Iterator["Store"]:
    """The database; rounds that are folded are priced by `prices`, by default the list alone."""
    from aibridge.records.opening import open_store
    from aibridge.records.pricing import NO_PRICES

    with failures_told():
        store, problem = open_store(settings, prices or NO_PRICES)
        if problem:
            warn(problem)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def failures_told() -> Iterator[None]:
    """In here failures of the records end the command in their sentence."""
    from aibridge.records.failures import DatabaseFailing, RecordsError

    quiet_log()
    try:
        yield
    except RecordsError as error:
        fail(str(error))
    except DatabaseFailing as error:
        fail(f"the records' database failed: {error}")


def quiet_log() -> None:
    """Stdout is for figures: the log goes to stderr, and only what is serious."""
    import structlog

    quiet = structlog.make_filtering_bound_logger("error")
    # Which stderr that is, is asked when something logs: who calls commands in a process may change it.
    structlog.configure(wrapper_class=quiet, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
