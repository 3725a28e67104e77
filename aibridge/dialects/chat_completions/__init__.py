"""`/v1/chat/completions` (2-wire.md): reading the request, reading the answer, showing it."""

from aibridge.dialects.chat_completions.dialect import ChatCompletions

__all__ = ["ChatCompletions"]
