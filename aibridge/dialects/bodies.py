"""Whole JSON bodies: a client's request, an upstream's answer; what OpenAI's dialects have in common."""

from collections.abc import Sequence
from typing import Any

from aibridge.dialects.base import InvalidAnswer
from aibridge.errors import BridgeError, Kind
from aibridge.wire.json_text import ObjectText


def read_request(body: bytes) -> ObjectText:
    """The object in a request's `body`, whose `tools` are a list, and whose `model` can be told of.

    Raises BridgeError (400).
    """
    try:
        source = ObjectText.read(body)
    except ValueError as error:
        raise bad_request(f"the body is not a JSON object: {error}") from None
    if not isinstance(source.value.get("tools", []), list | None):
        raise bad_request("`tools` has to be a list", "tools")
    model = source.value.get("model")
    if isinstance(model, str) and not model.isprintable():  # half a surrogate pair, a line's end
        raise bad_request("`model` has a character that no name of a model has", "model")
    return source


def read_answer(pieces: Sequence[bytes]) -> tuple[bytes, ObjectText]:
    """An answer's body, and the object in it. Raises InvalidAnswer."""
    raw = b"".join(pieces)
    try:
        return raw, ObjectText.read(raw)
    except ValueError:
        reason = "sent an answer that is not JSON" if raw.strip() else "sent an empty body"
        raise InvalidAnswer(reason) from None


def bad_request(message: str, param: str | None = None) -> BridgeError:
    """What is wrong with a request, and in which of its fields."""
    return BridgeError(Kind.BAD_REQUEST, message, param)


def as_text(value: Any) -> str | None:
    """`value` where it is a text that says something."""
    return value if isinstance(value, str) and value else None
