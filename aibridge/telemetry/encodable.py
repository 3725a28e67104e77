"""What comes from outside, as text that UTF-8 can carry.

JSON can escape half of a surrogate pair, and so bring one into a model, a tool's name or an answer's id. One
such text would else keep a page of metrics, or a batch of spans, from being written at all.
"""

from collections.abc import Mapping
from typing import Any


def encodable(text: str) -> str:
    """`text`, with `?` for what cannot be encoded."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def encodable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span, whose values are texts, lists of texts, or no texts."""
    return {name: _encodable(value) for name, value in values.items()}


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    return [_encodable(each) for each in value] if isinstance(value, list) else value
