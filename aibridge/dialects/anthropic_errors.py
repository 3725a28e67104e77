"""Anthropic's error object, for the clients of its messages, which are passed through.

Its SDKs and Claude Code show `error.message` of this shape; of another they show the body as it is.
"""

from aibridge.errors import BridgeError
from aibridge.wire.json_text import dumps

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""By status (docs.claude.com/en/api/errors); 503 is the nearest to its own 529."""


class AnthropicErrors:
    """How failures of our own are told to these clients."""

    def error_body(self, error: BridgeError) -> bytes:
        """The body of an error response."""
        rest = "invalid_request_error" if error.kind.status < 500 else "api_error"
        told = {"type": TYPES.get(error.kind.status, rest), "message": error.message}
        return dumps({"type": "error", "error": told}).encode()
