"""What the scripted model's routes have in common: each request is kept, answers come piece by piece.

An answer may wait between its pieces, and break off before its end.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from aibridge.demo import chat
from aibridge.demo.judging import Objection
from aibridge.demo.replying import Json, Reply

_LIMITS = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}


@dataclass(slots=True)
class Asked:
    """A request as it arrived, and what came of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None
    round: int = 0
    status: int = 200
    usage: Json | None = None
    left: bool = False
    """The client went away before the answer was whole."""
    digest: str = field(default="", repr=False)


class Scripted(Response):
    """An answer that is sent piece by piece, with pauses, and that may break off before its end."""

    def __init__(self, pieces: list[bytes], whole: bool, pause: float, asked: Asked, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)
        self.pieces, self.whole, self.pause, self.asked = pieces, whole, pause, asked
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; returning without a last piece makes the server cut the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for at, piece in enumerate(self.pieces):
            if at and self.pause and await _gone(receive, self.pause):
                self.asked.left = True
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.whole:
            await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive, seconds: float) -> bool:
    """Wait, but no longer than the client does; true if it went away."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def keep(request: Request) -> Asked:
    """Note a request."""
    asked = Asked(request.method, request.url.path, dict(request.headers))
    request.app.state.asked.append(asked)
    return asked


def failed_before(request: Request, asked: Asked, reply: Reply) -> bool:
    """True where the script wants a failure once, and it was."""
    log: Iterable[Asked] = request.app.state.asked
    return reply.plan.fails_once and any(
        each.digest == reply.digest and each.status == reply.plan.status and each is not asked for each in log
    )


def stream(
    asked: Asked, reply: Reply, events: Sequence[tuple[str | None, Json]], end: bytes = b""
) -> Response:
    """Events with their names, and what comes after the last where the script wants a whole answer."""
    whole = not (reply.plan.breaks or reply.plan.errs)
    pieces = [_event(name, data) for name, data in events]
    return Scripted(
        [*pieces, end] if whole and end else pieces,
        not reply.plan.breaks,
        reply.plan.pause_ms / 1000,
        asked,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-request-id": _request_id(reply), **_LIMITS},
    )


def answer(asked: Asked, reply: Reply, body: Json) -> Response:
    """A whole body."""
    if reply.plan.errs:
        return fail(asked, 500)
    content = json.dumps(body).encode()
    steps = max(len(reply.pieces), 1)
    size = -(-len(content) // steps)
    pieces = [content[begin : begin + size] for begin in range(0, len(content), size)]
    return Scripted(
        pieces[: -(-steps // 2)] if reply.plan.breaks else pieces,
        not reply.plan.breaks,
        reply.plan.pause_ms / 1000,
        asked,
        media_type="application/json",
        headers={"x-request-id": _request_id(reply), **_LIMITS},
    )


def refuse(asked: Asked, objection: Objection) -> Response:
    """Status 400."""
    asked.status = 400
    return JSONResponse(chat.refusal(objection), 400, {"x-request-id": "reqrefused"})


def fail(asked: Asked, status: int) -> Response:
    """An error status."""
    asked.status = status
    headers = {"retry-after": "1", "x-request-id": f"req_failed_{status}", **_LIMITS}
    headers["x-ratelimit-remaining-requests"] = "0"
    return JSONResponse(chat.failure(status), status, headers)


def _request_id(reply: Reply) -> str:
    return f"req_{reply.digest[:24]}"


def _event(name: str | None, data: Json) -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"
