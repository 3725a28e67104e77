"""Brings a database to the newest revision, in the caller's transaction. Loads Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from aibridge.records.migrations import is_current


def upgrade(connection: Connection) -> None:
    """Bring the database to HEAD; the transaction has to keep other processes from doing the same."""
    if is_current(connection):  # another process was first
        return
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
