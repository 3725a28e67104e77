"""What exchanges used and did, kept: told without waiting, in a journal at once, in a database soon.

This room knows facts and tables; who tells the facts and who asks for the figures is left to others.
"""

from aibridge.config import Records
from aibridge.records.failures import DatabaseFailing, RecordsError
from aibridge.records.recorder import Recorder

__all__ = ["DatabaseFailing", "Recorder", "RecordsError", "open_records"]


def open_records(config: Records) -> Recorder:
    """Open the records for a process that writes them: migrate, take over dead journals, start the thread.

    Blocks on the disk. Raises RecordsError with one sentence.
    """
    from aibridge.records.opening import open_recorder  # noqa: PLC0415 - SQLAlchemy costs 0.4 s

    return open_recorder(config)
