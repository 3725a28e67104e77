"""What parts of the configuration have in common: their base, and kinds of values.

Durations and sizes are in `units`; a kind that one part alone has stands beside it.
"""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Model(BaseModel):
    """A part of the configuration; unknown keys are refused, values do not change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME)]


def http_url(value: str) -> str:
    """`value` without a slash at its end. Raises ValueError where it is no whole URL."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write a whole URL that begins with http:// or https://")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]


def switch(value: Any) -> Any:
    """YAML reads a bare `on` or `off` as a truth value."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
