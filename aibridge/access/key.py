"""A key as it is kept, and what it is now: active, expired, revoked. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from aibridge.access import secrets
from aibridge.config import KeyRules, KeyTold
from aibridge.nouns import Keep, Rights

State = Literal["active", "expired", "revoked"]


@dataclass(frozen=True)
class Key:
    """A key; its hashes do not print."""

    id: str
    name: str
    rules: KeyRules
    hash: str = field(repr=False)
    created_at: datetime
    old_hash: str | None = field(default=None, repr=False)
    old_until: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Key":
        """The key of a row of the database."""
        return cls(**{**row, "rules": KeyRules.model_validate(row["rules"])})

    def row(self) -> dict[str, Any]:
        """Its row."""
        rules = self.rules.model_dump(mode="json", exclude_defaults=True)
        return {**{name: getattr(self, name) for name in COLUMNS}, "rules": rules}

    def state(self, now: datetime) -> State:
        """What it is at `now`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def proven_by(self, text: str, now: datetime) -> bool:
        """Whether `text` is this key and it may be used at `now`."""
        if self.state(now) != "active":
            return False
        if secrets.proves(text, self.hash):
            return True
        old = self.old_hash if self.old_until is not None and now < self.old_until else None
        return old is not None and secrets.proves(text, old)

    @cached_property
    def rights(self) -> Rights:
        """What it may use."""
        return Rights(tuple(self.rules.models), tuple(self.rules.tools), self.rules.inject)

    @cached_property
    def keep(self) -> Keep | None:
        """Which texts the records keep of its exchanges; None where it says nothing."""
        keep = Keep(self.rules.prompts, self.rules.arguments, self.rules.results)
        return None if keep == Keep() else keep

    def period_began(self, now: float) -> float:
        """When the running period of its budget began; periods are counted from its making on."""
        made = self.created_at.timestamp()
        period = self.rules.period
        return made + (now - made) // period * period

    def told(self, now: datetime, spent: int | None = None) -> KeyTold:
        """As operators see it; `spent`: micro-dollars of the running period."""
        return KeyTold(
            **self.rules.model_dump(),
            id=self.id,
            name=self.name,
            state=self.state(now),
            created_at=self.created_at,
            expires_at=self.expires_at,
            revoked_at=self.revoked_at,
            old_until=self.old_until if self.old_until and self.old_until > now else None,
            spent=None if spent is None else spent / 1_000_000,
        )


COLUMNS = ("id", "name", "hash", "old_hash", "old_until", "created_at", "expires_at", "revoked_at")
