"""Durations (`500ms`, `30s`, `10m`, `2h`, `90d`) and sizes (`32MiB`, `1GiB`) as people write them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "MB": 10**6, "GB": 10**9}


def _quantity(value: Any, units: dict[str, float], plain: str, example: str) -> Any:
    """A number with a unit as a number of the base unit; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or (match[2] and match[2] not in units):
        raise ValueError(f"write a number with one of {', '.join(units)}, for example {example}")
    return float(match[1]) * units[match[2] or plain]


def _seconds(value: Any) -> Any:
    return _quantity(value, SECONDS, "s", "30s")


def _bytes(value: Any) -> Any:
    number = _quantity(value, {**BYTES}, "B", "32MiB")
    return int(number) if isinstance(number, float) else number


def moment(text: str, now: datetime) -> datetime | None:
    """The time that people mean: `7d` is that long before `now`, else ISO 8601; None for `all`.

    Without a zone it is UTC. Raises ValueError.
    """
    if text == "all":
        return None
    if re.fullmatch(r"\d+(?:\.\d+)?[A-Za-z]+", text):
        seconds = _quantity(text, SECONDS, "s", "7d")
        try:
            return now - timedelta(seconds=seconds)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("write a time like 7d, 12h, 2026-01-31, 2026-01-31T12:00:00Z, or all") from None


Duration = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(_seconds),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "10m"]}),
]
"""Seconds."""

Size = Annotated[
    int,
    Field(gt=0),
    BeforeValidator(_bytes),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["32MiB"]}),
]
"""Bytes."""
