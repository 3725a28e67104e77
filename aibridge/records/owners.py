"""Whose something is that rests beside the records, in the words that the records have for them."""

from collections.abc import Sequence

from aibridge.records.redaction import Redaction
from aibridge.records.storable import storable


class Owners:
    """Names owners of what rests beside the records by the words that the records have for them.

    So that who forgets a user finds all of theirs by one name, and a credential in it rests nowhere.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """`patterns`: `records.redact`."""
        self._redaction = Redaction(patterns)

    def columns(self, caller: str, user: str | None) -> dict[str, str | None]:
        """The columns `caller` and `user`."""
        return {
            "caller": storable(caller),
            "user": None if user is None else storable(self._redaction.text(user)),
        }


PLAIN = Owners()
