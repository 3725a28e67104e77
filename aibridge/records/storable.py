"""Texts and JSON values as every database holds them: without NUL and half surrogate pairs."""

from collections.abc import Mapping
from typing import Any


def storable(text: str) -> str:
    """`text` without what cannot be stored."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def storable_value(value: Any) -> Any:
    """A JSON value whose texts are all storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(key): storable_value(item) for key, item in value.items()}
    return [storable_value(item) for item in value] if isinstance(value, list | tuple) else value
