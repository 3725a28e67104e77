"""What this room needs of others; `app.py` fills these."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aibridge.facts import RoundEnded

Row = Mapping[str, Any]
Price = Callable[[RoundEnded], int]
"""Micro-dollars of a round."""


class Shelf(Protocol):
    """Where keys and the audit rest. Methods block, and raise what the database does."""

    def version(self) -> str:
        """Another word whenever a key has changed."""
        ...

    def all_keys(self) -> Sequence[Row]:
        """All keys."""
        ...

    def put(self, row: Row, told: Row) -> None:
        """Keep a new key, and `told` in the audit."""
        ...

    def change(self, key_id: str, row: Row, told: Row) -> None:
        """Set what is in `row` of a key, and keep `told` in the audit."""
        ...

    def note(self, told: Row) -> None:
        """Keep `told` in the audit: of a change that is no key's."""
        ...

    def audit(self, limit: int, before: str | None = None) -> Sequence[Row]:
        """The newest rows of the audit, before the row of that id where it is given."""
        ...

    def spent(self, key_id: str, since: datetime) -> int:
        """Micro-dollars of the exchanges of a key that began since then, as far as they are recorded."""
        ...

    def spent_by_others(self, key_id: str, since: datetime) -> int:
        """The same without the exchanges of this process."""
        ...
