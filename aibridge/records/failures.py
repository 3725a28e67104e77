"""What goes wrong with records, as the rest of the room sees it; `store` maps the database's errors."""

OFF = "records are off (records.enabled: false in the configuration)"


class RecordsError(Exception):
    """The records cannot be opened or read; the message is one sentence with what to do."""


class DatabaseFailing(Exception):
    """The database does not take what it would take at another time: locked, gone, full."""


class EntryRefused(Exception):
    """The database will never take these rows, whatever its state."""
