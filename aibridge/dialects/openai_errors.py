"""OpenAI's error object, in which all its APIs answer where there is no stream yet."""

from typing import Any

from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.wire.json_text import dumps, loads


def error_body(error: BridgeError) -> bytes:
    """A failure of our own as the body of a response."""
    return dumps({"error": error_object(error)}).encode()


def error_object(error: BridgeError) -> dict[str, Any]:
    """A failure of our own."""
    kind = error.kind
    return {"message": error.message, "type": kind.type, "param": error.param, "code": kind.code}


def told_by(refused: UpstreamRefused) -> dict[str, Any]:
    """The upstream's own error body where it has an error object, else one that says its status."""
    try:
        told = loads(refused.body)
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        return told
    return {"error": {"message": str(refused), "type": "server_error", "param": None, "code": None}}
