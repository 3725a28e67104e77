"""What a key of aibridge allows, as operators write it on the command line, in /api and in the database.

How keys are made and checked is in `access`; this is only their form.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from aibridge.config.units import SECONDS, Duration

PRINTED = r"^[^\x00-\x1f\x7f]*$"
"""Without control characters: PostgreSQL has no NUL, and terminals obey others."""
BUDGET = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(\d{1,6})(s|m|h|d)")
LEAST_PERIOD = 60
LARGEST = 1_000_000_000


def _budget(value: str) -> str:
    match = BUDGET.fullmatch(value.replace(" ", "").lstrip("$"))
    if match is None:
        raise ValueError("write dollars and a period, for example 50/30d or 2.50/24h")
    if int(match[2]) * SECONDS[match[3]] < LEAST_PERIOD:
        raise ValueError("the period of a budget is a minute at least, for example 50/30d")
    return match[0]


Pattern = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^,\x00-\x1f]+$")]
Budget = Annotated[str, AfterValidator(_budget)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]


Word = Annotated[str, StringConstraints(max_length=500, pattern=PRINTED)]


class KeyRules(BaseModel):
    """What a key allows; what is absent is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    models: list[Pattern] = Field(["*"], description="patterns of models; empty: none")
    tools: list[Pattern] = Field(["*"], description="patterns of servers or server__tool; empty: none")
    inject: bool | None = Field(
        None, description="tools by default or not; false: never; null: as configured"
    )
    rpm: Count | None = Field(None, description="requests a minute")
    tpm: Count | None = Field(None, description="tokens a minute")
    concurrency: Count | None = Field(None, description="requests at a time")
    budget: Budget | None = Field(None, description="dollars in a period, like 50/30d")
    prompts: bool | None = Field(None, description="keep prompts in the records; null: as configured")
    arguments: bool | None = Field(None, description="keep tool arguments; null: as configured")
    results: bool | None = Field(None, description="keep tool results; null: as configured")
    metadata: dict[Word, Word] = Field({}, max_length=50, description="words of the operator's own")

    @property
    def budget_micros(self) -> int | None:
        """Micro-dollars of a period."""
        match = BUDGET.fullmatch(self.budget or "")
        return int(Decimal(match[1]) * 1_000_000) if match else None

    @property
    def period(self) -> int:
        """Seconds of a budget's period; 0 without a budget."""
        match = BUDGET.fullmatch(self.budget or "")
        return int(match[2]) * int(SECONDS[match[3]]) if match else 0


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=PRINTED)]


class NewKey(KeyRules):
    """A key that is wanted."""

    name: Name = Field(description="what operators call it")
    expires: Duration | None = Field(None, le=100 * 365 * 86400, description="how long it is valid")


class KeyTold(KeyRules):
    """A key as operators see it; its secret is not known any more."""

    id: str = Field(description="as the records name it")
    name: str
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    old_until: datetime | None = Field(description="until when the secret before the last rotation works")
    spent: float | None = Field(None, description="dollars of the running period, where it has a budget")
