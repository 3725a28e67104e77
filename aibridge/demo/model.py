"""The scripted model as a server: an OpenAI-compatible upstream whose users say what it is to do.

The rules that a user message may hold are in `rules`; what is refused is in `judging`. Every request is
kept (the last 1000) in `app.state.asked`, shown by `GET /_asked` and forgotten by `DELETE /_asked`.
`python -m aibridge.demo.model --port N` runs it.
"""

import argparse
import asyncio
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from aibridge.demo import chat
from aibridge.demo.judging import Objection, objection_to
from aibridge.demo.replying import Json, Reply, reply_to

_KEPT = 1000
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


def create_model() -> Starlette:
    """The application; each has a log of its own."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _chat, methods=["POST"]),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/_asked", _show_asked, methods=["GET", "DELETE"]),
            Route("/{path:path}", _nothing_here, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )
    app.state.asked = deque(maxlen=_KEPT)
    return app


async def _chat(request: Request) -> Response:
    asked = _keep(request)
    try:
        asked.body = await request.json()
    except ValueError:
        return _refuse(asked, Objection("We could not parse the JSON body of your request."))
    if objection := objection_to(asked.body):
        return _refuse(asked, objection)
    reply = reply_to(asked.body)
    asked.round, asked.digest = reply.round, reply.digest
    if reply.plan.status != 200 and not _failed_before(request, asked, reply):
        return _fail(asked, reply.plan.status)
    asked.usage = chat.usage(asked.body, reply)
    return _stream(asked, reply) if asked.body.get("stream") else _answer(asked, reply)


async def _models(request: Request) -> Response:
    _keep(request)
    return JSONResponse(chat.models())


async def _show_asked(request: Request) -> Response:
    log: deque[Asked] = request.app.state.asked
    if request.method == "DELETE":
        log.clear()
    return JSONResponse([asdict(asked) for asked in log])


async def _nothing_here(request: Request) -> Response:
    return _fail(_keep(request), 404)


def _keep(request: Request) -> Asked:
    asked = Asked(request.method, request.url.path, dict(request.headers))
    request.app.state.asked.append(asked)
    return asked


def _failed_before(request: Request, asked: Asked, reply: Reply) -> bool:
    log: Iterable[Asked] = request.app.state.asked
    return reply.plan.fails_once and any(
        each.digest == reply.digest and each.status == reply.plan.status and each is not asked for each in log
    )


def _stream(asked: Asked, reply: Reply) -> Response:
    events = [_event(chunk) for chunk in chat.chunks(asked.body, reply)]
    whole = not (reply.plan.breaks or reply.plan.errs)
    events = [*events, b"data: [DONE]\n\n"] if whole else events[: max(2, len(events) // 2)]
    if reply.plan.errs:
        events.append(_event(chat.failure(500)))
    return Scripted(
        events,
        not reply.plan.breaks,
        reply.plan.pause_ms / 1000,
        asked,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-request-id": _request_id(reply), **_LIMITS},
    )


def _answer(asked: Asked, reply: Reply) -> Response:
    if reply.plan.errs:
        return _fail(asked, 500)
    content = json.dumps(chat.completion(asked.body, reply)).encode()
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


def _refuse(asked: Asked, objection: Objection) -> Response:
    asked.status = 400
    return JSONResponse(chat.refusal(objection), 400, {"x-request-id": "req_refused"})


def _fail(asked: Asked, status: int) -> Response:
    asked.status = status
    headers = {"retry-after": "1", "x-request-id": f"req_failed_{status}", **_LIMITS}
    headers["x-ratelimit-remaining-requests"] = "0"
    return JSONResponse(chat.failure(status), status, headers)


def _request_id(reply: Reply) -> str:
    return f"req_{reply.digest[:24]}"


def _event(data: Json) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def main() -> None:
    """Serve on this machine until Ctrl-C."""
    import uvicorn

    parser = argparse.ArgumentParser(description="A scripted, OpenAI-compatible model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4181)
    options = parser.parse_args()
    uvicorn.run(create_model(), host=options.host, port=options.port, log_level="warning", ws="none")


if __name__ == "__main__":
    main()
