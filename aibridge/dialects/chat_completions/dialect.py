"""The chat completions dialect as the engine sees it: its name, its requests, its errors."""

from aibridge.dialects import openai_errors
from aibridge.dialects.chat_completions.request import ChatRequest
from aibridge.errors import BridgeError


class ChatCompletions:
    """OpenAI's chat completions, and what others made of it."""

    name = "chat_completions"
    path = "/chat/completions"

    def read(self, body: bytes) -> ChatRequest:
        """The request in `body`. Raises BridgeError (400) that says what is wrong."""
        return ChatRequest.read(body)

    def error_body(self, error: BridgeError) -> bytes:
        """OpenAI's error object."""
        return openai_errors.error_body(error)
