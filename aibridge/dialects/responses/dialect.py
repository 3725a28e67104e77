"""The responses dialect as the engine sees it: its name, its requests, its errors."""

from aibridge.dialects import openai_errors
from aibridge.dialects.responses.request import ResponsesRequest
from aibridge.errors import BridgeError


class Responses:
    """OpenAI's responses, which Codex speaks."""

    name = "responses"
    path = "/responses"

    def read(self, body: bytes) -> ResponsesRequest:
        """The request in `body`. Raises BridgeError (400) that says what is wrong."""
        return ResponsesRequest.read(body)

    def error_body(self, error: BridgeError) -> bytes:
        """OpenAI's error object."""
        return openai_errors.error_body(error)
