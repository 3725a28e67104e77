"""The secret by which callers are told apart, also while its database is away.

It rests in the database, for all processes that share it, and as a copy in the journal's folder. A process
that starts without the database takes the copy, or makes one; where the database has another by then, that
one counts from the moment it is known.
"""

import os
import secrets
from pathlib import Path

from aibridge.records import files, logs
from aibridge.records.failures import DatabaseFailing
from aibridge.records.store import Store

NAME = "caller-secret"
BYTES = 32


class CallerSecret:
    """The secret, best known."""

    def __init__(self, store: Store, folder: Path) -> None:
        """Blocks on the database if it answers; raises OSError where `folder` cannot be used."""
        self._store, self._path = store, folder / NAME
        self.shared = False
        """Whether it is the one of the database."""
        self.value = b""
        if not self.ask():
            self.value = _copied(self._path) or _made(self._path)

    def ask(self) -> bool:
        """Take the database's secret, or give it ours; whether it answered. Raises OSError."""
        try:
            found = self._store.caller_secret(self.value or _copied(self._path))
        except DatabaseFailing:
            return False
        if self.value not in (b"", found):
            logs.warning("callers have other ids from now on: those that the database's secret gives")
        self.value, self.shared = found, True
        if self._store.database.may_be_away and _copied(self._path) != found:
            _replace(self._path, found)
        return True

    def ask_again(self) -> None:
        """Take the database's, if it is not known yet."""
        if not self.shared:
            self.ask()


def _copied(path: Path) -> bytes | None:
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return None
    return found if len(found) == BYTES else None


def _made(path: Path) -> bytes:
    """A new one, or that of another process that was faster."""
    files.make_folder(path.parent)
    made = secrets.token_bytes(BYTES)
    spare = path.with_name(f"{NAME}.{os.getpid()}")
    _write(spare, made)
    try:
        os.link(spare, path)
    except FileExistsError:
        return _copied(path) or made
    finally:
        spare.unlink()
    return made


def _replace(path: Path, secret: bytes) -> None:
    files.make_folder(path.parent)
    spare = path.with_name(f"{NAME}.{os.getpid()}")
    _write(spare, secret)
    spare.replace(path)


def _write(path: Path, secret: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, files.FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
