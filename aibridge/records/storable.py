"""Texts and JSON values as every database holds them: without NUL and half surrogates, not too deep."""

from collections.abc import Mapping
from typing import Any

DEEPEST = 64
"""Levels of a value that are kept: readers and writers of JSON each give up at a depth of their own."""
DEEPER = "…"
"""What stands for what is below."""


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


def shallow(value: Any, room: int = DEEPEST) -> Any:
    """A JSON value of `room` levels at most."""
    if not isinstance(value, Mapping | list | tuple):
        return value
    if room == 0:
        return DEEPER
    if isinstance(value, Mapping):
        return {key: shallow(item, room - 1) for key, item in value.items()}
    return [shallow(item, room - 1) for item in value]


def nests(value: Mapping[str, Any]) -> bool:
    """Whether it has more than one level."""
    return any(isinstance(item, Mapping | list | tuple) for item in value.values())
