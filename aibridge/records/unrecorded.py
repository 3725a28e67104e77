"""Records that are off (`records.enabled: false`): facts are heard by nobody here, and nothing is on a disk.

What else rests in the records' database is then in the process alone, or nowhere: who asks for it gets None,
or is told.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from aibridge.errors import BridgeError, Kind
from aibridge.facts import Fact
from aibridge.records.failures import OFF
from aibridge.records.pricing import Prices

Row = Mapping[str, Any]


class Unrecorded:
    """In the place of a `Recorder`."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def tell(self, fact: Fact) -> None:
        """Nothing is kept."""

    def refuses(self) -> None:
        """There is nothing for which there could be no room."""

    def flush(self) -> bool:
        """There is nothing to wait for."""
        return True

    def close(self) -> None:
        """Nothing is held."""

    def caller_secret(self) -> bytes:
        """32 random bytes of this process: nothing outlives it by which callers could be known again."""
        return self._secret

    def questions(self, _prices: Prices) -> NoReturn:
        """Raises BridgeError: there is nothing to ask."""
        raise BridgeError(Kind.NOT_FOUND, OFF)

    def hidden_turns(self) -> None:
        """They rest in the process."""

    def answer_ids(self) -> None:
        """They rest in the process."""

    def tool_shelf(self) -> None:
        """Tool lists and pins rest in the process."""

    def key_shelf(self) -> "NoKeys":
        """There are no keys."""
        return NoKeys()

    def health(self) -> dict[str, Any]:
        """For `/readyz`."""
        return {"state": "off"}

    def lost(self) -> dict[str, int]:
        """Nothing that was to be kept."""
        return {}


class NoKeys:
    """A shelf of keys that stays empty."""

    def version(self) -> str:
        """It never changes."""
        return "none"

    def all_keys(self) -> Sequence[Row]:
        """None."""
        return ()

    def put(self, row: Row, told: Row) -> None:
        """Raises BridgeError: a key has to rest somewhere."""
        raise BridgeError(Kind.CONFLICT, f"keys rest beside the records, and {OFF}")

    def change(self, key_id: str, row: Row, told: Row) -> None:
        """Raises BridgeError."""
        self.put(row, told)

    def note(self, told: Row) -> None:
        """The log has it alone."""

    def audit(self, limit: int, before: str | None = None) -> Sequence[Row]:
        """Raises BridgeError: nobody writes down what is changed."""
        raise BridgeError(Kind.NOT_FOUND, f"the audit rests beside the records, and {OFF}")

    def spent(self, key_id: str, since: datetime) -> int:
        """Nobody has a key to spend with."""
        return 0

    def spent_by_others(self, key_id: str, since: datetime) -> int:
        """Nobody has a key to spend with."""
        return 0
