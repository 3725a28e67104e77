"""What operators do, with keys above all, from the command line and by `/api` alike; each change leaves an
audit row.

Blocks on the database.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aibridge.access import secrets
from aibridge.access.key import Key
from aibridge.access.ports import Row, Shelf
from aibridge.config import KeyRules, KeyTold, NewKey
from aibridge.errors import BridgeError, Kind

Clock = Callable[[], float]


class Administration:
    """Looks after the keys on `shelf`; methods raise what the database does."""

    def __init__(self, shelf: Shelf, clock: Clock = time.time) -> None:
        """`clock`: Unix time in seconds."""
        self._shelf, self._clock = shelf, clock

    def create(self, actor: str, wanted: NewKey) -> tuple[KeyTold, str]:
        """A new key, and its text, which is not kept."""
        now = self._now()
        key_id = secrets.new_id()
        text, kept = secrets.mint(key_id)
        rules = KeyRules.model_validate(wanted.model_dump(exclude={"name", "expires"}))
        ends = None if wanted.expires is None else now + timedelta(seconds=wanted.expires)
        key = Key(key_id, wanted.name, rules, kept, now, expires_at=ends)
        detail = {"name": key.name, **rules.model_dump(mode="json", exclude_defaults=True)}
        self._shelf.put(
            key.row(), self._told(actor, "key.create", key, {**detail, "expires_at": _text(ends)})
        )
        return self._shown(key), text

    def list(self) -> Sequence[KeyTold]:
        """All keys, oldest first, without what they spent."""
        now = self._now()
        return [Key.of(row).told(now) for row in self._shelf.all_keys()]

    def show(self, named: str) -> KeyTold:
        """The key `named` by its id, its name or how its id begins. Raises BridgeError (404)."""
        return self._shown(self._find(named))

    def revoke(self, actor: str, named: str) -> KeyTold:
        """End a key for good; once more changes nothing. Raises BridgeError (404)."""
        key = self._find(named)
        if key.revoked_at is None:
            key = replace(key, revoked_at=self._now())
            row = {"revoked_at": key.revoked_at}
            self._shelf.change(key.id, row, self._told(actor, "key.revoke", key, {"name": key.name}))
        return self._shown(key)

    def rotate(self, actor: str, named: str, grace: float = 0.0) -> tuple[KeyTold, str]:
        """A new text for a key; the old one ends after `grace` seconds, by default at once.

        Raises BridgeError (404, 409).
        """
        key = self._find(named)
        now = self._now()
        if (state := key.state(now)) != "active":
            raise BridgeError(Kind.CONFLICT, f"the key '{key.name}' is {state}; create a new one")
        text, kept = secrets.mint(key.id)
        until = now + timedelta(seconds=grace) if grace > 0 else None
        changed = replace(key, hash=kept, old_hash=key.hash if until else None, old_until=until)
        row = {name: getattr(changed, name) for name in ("hash", "old_hash", "old_until")}
        detail = {"name": key.name, "old_until": _text(until)}
        self._shelf.change(key.id, row, self._told(actor, "key.rotate", key, detail))
        return self._shown(changed), text

    def reloaded(self, actor: str, detail: dict[str, Any]) -> None:
        """Note that the configuration was taken up; `detail` has no values, which may be secret."""
        told = {"actor": actor, "action": "config.reload", "subject": "configuration", "detail": detail}
        self._shelf.note({"at": self._now(), **told})

    def audit(self, limit: int = 100, before: str | None = None) -> Sequence[Row]:
        """The newest changes."""
        return self._shelf.audit(limit, before)

    def _find(self, named: str) -> Key:
        keys = [Key.of(row) for row in self._shelf.all_keys()]
        exact = [key for key in keys if named in (key.id, key.name)]
        found = exact or [key for key in keys if len(named) > 3 and key.id.startswith(named)]
        if len(found) > 1:  # a name may be used again when its key has ended
            found = [key for key in found if key.state(self._now()) == "active"] or found
        if not found:
            raise BridgeError(Kind.NOT_FOUND, f"there is no key '{named}'; `aibridge keys list` shows all")
        if len(found) > 1:
            ids = ", ".join(key.id for key in found)
            raise BridgeError(Kind.CONFLICT, f"several keys are called '{named}'; name one by its id: {ids}")
        return found[0]

    def _shown(self, key: Key) -> KeyTold:
        if key.rules.budget is None:
            return key.told(self._now())
        began = datetime.fromtimestamp(key.period_began(self._clock()), UTC)
        return key.told(self._now(), self._shelf.spent(key.id, began))

    def _told(self, actor: str, action: str, key: Key, detail: dict[str, Any]) -> Row:
        return {"at": self._now(), "actor": actor, "action": action, "subject": key.id, "detail": detail}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
