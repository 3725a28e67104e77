"""The chat completions dialect as the engine sees it: its name, its errors, its keep-alive."""

from aibridge.dialects.chat_completions.request import ChatRequest
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.wire.json_text import dumps, loads
from aibridge.wire.sse import encode


class ChatCompletions:
    """OpenAI's chat completions, and what others made of it."""

    name = "chat_completions"
    path = "/chat/completions"
    keep_alive = b": keep-alive\n\n"

    def read(self, body: bytes) -> ChatRequest:
        """The request in `body`. Raises BridgeError (400) that says what is wrong."""
        return ChatRequest.read(body)

    def error_body(self, error: BridgeError) -> bytes:
        """OpenAI's error object."""
        kind = error.kind
        shape = {"message": error.message, "type": kind.type, "param": error.param, "code": kind.code}
        return dumps({"error": shape}).encode()

    def error_event(self, error: BridgeError | UpstreamRefused) -> bytes:
        """`data: {"error": …}`; an upstream's own error object is handed on."""
        if isinstance(error, BridgeError):
            return encode(self.error_body(error))
        try:
            told = loads(error.body)
        except ValueError:
            told = None
        if not isinstance(told, dict) or not isinstance(told.get("error"), dict):
            told = {"error": {"message": str(error), "type": "server_error", "param": None, "code": None}}
        return encode(dumps(told).encode())
