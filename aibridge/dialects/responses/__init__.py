"""`/v1/responses` (2-wire.md): reading the request, reading the answer, showing it."""

from aibridge.dialects.responses.dialect import Responses

__all__ = ["Responses"]
