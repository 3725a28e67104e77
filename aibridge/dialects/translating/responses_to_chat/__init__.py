"""`/v1/responses` over an upstream that only has `/v1/chat/completions`."""

from aibridge.dialects.translating.responses_to_chat.translator import ResponsesToChat

__all__ = ["ResponsesToChat"]
