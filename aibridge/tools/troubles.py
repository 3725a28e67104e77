"""What the exceptions of mcp, httpx2 and the system mean, in one sentence that holds no URL and no secret.

The text of a foreign exception is not passed on; only what a server said in a JSON-RPC error is, cleaned.
"""

from collections.abc import Callable

import httpx2
from mcp import MCPError
from mcp.types import CONNECTION_CLOSED, PARSE_ERROR
from pydantic import ValidationError

from aibridge.tools.failures import CallFailed, ConnectFailed, NotRun, one_sentence
from aibridge.tools.http_errors import TROUBLE

Mask = Callable[[str], str]


def call_failure(where: str, error: Exception, mask: Mask) -> CallFailed:
    """What `error` means for the call of a tool; `where` names it."""
    if isinstance(error, ValidationError):
        return CallFailed("error", f"{where} gave an answer that is no valid tool result.")
    if not isinstance(error, MCPError):
        return CallFailed("error", f"{where} failed unexpectedly ({type(error).__name__}).")
    match trouble_of(error):
        case "unreachable" | "session_lost":
            return NotRun("error", f"{where} was not run: the server cannot be reached.")
        case "no_token":
            return CallFailed("error", f"{where} was not run: its authorization server gave no token.")
        case "refused":
            return CallFailed("error", f"{where} failed: the server {_refusal(error)}")
    if _is_broken(error):
        return CallFailed("error", f"{where} failed: the connection broke, and it may have been carried out.")
    if error.code == PARSE_ERROR:
        return CallFailed("error", f"{where} gave no answer that can be read; it may have been carried out.")
    return CallFailed("error", f"{where} was refused: {one_sentence(mask(error.message))}")


def why_not_connected(error: BaseException, mask: Mask) -> str:
    """One sentence about the server, "it"."""
    while isinstance(error, BaseExceptionGroup):  # anyio's task groups wrap what passes through them
        error = error.exceptions[0]
    match error:
        case ConnectFailed():
            return error.sentence
        case TimeoutError():
            return "It did not answer in time."
        case FileNotFoundError():
            return f"There is no program or folder {error.filename!r}."
        case OSError():
            return f"It cannot be started: {error.strerror or type(error).__name__}."
        case httpx2.HTTPStatusError():
            return f"It answered HTTP {error.response.status_code}."
        case httpx2.TransportError():
            return "It cannot be reached."
        case MCPError():
            return _why_refused(error, mask)
    return f"It failed unexpectedly ({type(error).__name__})."


def _why_refused(error: MCPError, mask: Mask) -> str:
    match trouble_of(error):
        case "unreachable":
            return "It cannot be reached."
        case "session_lost":
            return "Its session had ended."
        case "no_token":
            return "Its authorization server gave no token; the log says why."
        case "refused":
            return f"It {_refusal(error)}"
        case "cut":
            return "Its connection broke."
    if _is_broken(error):
        return "It ended without an answer."
    if error.code == PARSE_ERROR:
        return "Its answer cannot be read."
    return f"It refused: {one_sentence(mask(error.message))}"


def _is_broken(error: MCPError) -> bool:
    """The SDK itself made this error. Servers use its code, too, for errors that the model should read."""
    texts = ("Connection closed", "SSE stream", "cut")
    return error.code == CONNECTION_CLOSED and error.message.startswith(texts)


def _refusal(error: MCPError) -> str:
    data = error.error.data
    return f"answered HTTP {data.get('status')}."


def trouble_of(error: MCPError) -> str | None:
    """What `http_errors` noted in this error."""
    data = error.error.data
    return data.get(TROUBLE) if isinstance(data, dict) else None
