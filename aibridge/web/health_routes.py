"""`/healthz`: the process lives, no I/O. `/readyz`: it serves, and how its parts are."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aibridge import __version__
from aibridge.errors import BridgeError
from aibridge.web.headers import Scope

GOOD = {"ok", "connected", "idle", "unknown", "off"}


async def healthz(_request: Request) -> JSONResponse:
    """Alive."""
    return JSONResponse({"status": "ok"})


def metrics(
    told: Callable[[], Awaitable[bytes]], content_type: str
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint `/metrics`."""

    async def tell(_request: Request) -> Response:
        try:
            return Response(await told(), media_type=content_type)
        except BridgeError as error:
            return Response(error.message, error.kind.status, media_type="text/plain")

    return tell


def readiness(
    states: Callable[[], dict[str, Any]], may_see: Callable[[Scope], bool]
) -> Callable[[Request], Awaitable[JSONResponse]]:
    """The endpoint `/readyz`: 200 as soon as requests are served; details for who `may_see` them."""

    async def readyz(request: Request) -> JSONResponse:
        try:
            parts = states()
        except BridgeError:
            return JSONResponse({"status": "stopping", "version": __version__}, 503)
        rooms = [
            *parts["upstreams"].values(),
            *parts["mcp_servers"].values(),
            parts["records"],
            parts["access"],
        ]
        status = "ready" if all(room["state"] in GOOD for room in rooms) else "degraded"
        told = {"status": status, "version": __version__}
        return JSONResponse({**told, **parts} if may_see(request.scope) else told)

    return readyz
