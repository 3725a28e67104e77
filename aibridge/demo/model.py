"""The scripted model as a server: an OpenAI-compatible upstream whose users say what it is to do.

The rules that a user message may hold are in `rules`; what is refused is in `judging`. Every request is
kept (the last 1000) in `app.state.asked`, shown by `GET /_asked` and forgotten by `DELETE /_asked`.
`python -m aibridge.demo.model --port N` runs it.
"""

import argparse
from collections import deque
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aibridge.demo import chat, responses_routes
from aibridge.demo.answering import Asked, answer, fail, failed_before, keep, refuse, stream
from aibridge.demo.judging import Objection, objection_to
from aibridge.demo.replying import Json, reply_to

_KEPT = 1000


def create_model() -> Starlette:
    """The application; each has a log of its own."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _chat, methods=["POST"]),
            *responses_routes.routes(),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/_asked", _show_asked, methods=["GET", "DELETE"]),
            Route("/{path:path}", _nothing_here, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )
    app.state.asked = deque(maxlen=_KEPT)
    return app


async def _chat(request: Request) -> Response:
    asked = keep(request)
    try:
        asked.body = await request.json()
    except ValueError:
        return refuse(asked, Objection("We could not parse the JSON body of your request."))
    if objection := objection_to(asked.body):
        return refuse(asked, objection)
    reply = reply_to(asked.body)
    asked.round, asked.digest = reply.round, reply.digest
    if reply.plan.status != 200 and not failed_before(request, asked, reply):
        return fail(asked, reply.plan.status)
    asked.usage = chat.usage(asked.body, reply)
    if not asked.body.get("stream"):
        return answer(asked, reply, chat.completion(asked.body, reply))
    chunks: list[Json] = list(chat.chunks(asked.body, reply))
    if reply.plan.breaks or reply.plan.errs:
        chunks = chunks[: max(2, len(chunks) // 2)]
    if reply.plan.errs:
        chunks.append(chat.failure(500))
    return stream(asked, reply, [(None, chunk) for chunk in chunks], b"data: [DONE]\n\n")


async def _models(request: Request) -> Response:
    keep(request)
    return JSONResponse(chat.models())


async def _show_asked(request: Request) -> Response:
    log: deque[Asked] = request.app.state.asked
    if request.method == "DELETE":
        log.clear()
    return JSONResponse([asdict(asked) for asked in log])


async def _nothing_here(request: Request) -> Response:
    return fail(keep(request), 404)


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
