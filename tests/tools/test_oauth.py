"""Client credentials against a small authorization server and an MCP server that wants its tokens."""

import asyncio
import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aibridge.config import McpServer
from tests.support.serving import serving
from tests.tools.boxes import a_call, ask, names, opened, run, until
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

SECRET = "a-long-client-secret"
KINDS = pytest.mark.parametrize("kind", ["auto", "legacy", "sse"])


class Authority:
    """An authorization server, and the door of a resource that asks for its tokens."""

    def __init__(self) -> None:
        self.origin = ""
        self.tokens: set[str] = set()
        self.asked: list[dict[str, str]] = []
        self.down = False
        self.app = Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self._metadata),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _metadata(self, request: Request) -> Response:
        endpoints = {
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
        }
        return JSONResponse({"issuer": self.origin, "response_types_supported": ["code"], **endpoints})

    async def _token(self, request: Request) -> Response:
        if self.down:
            return Response("", 500)
        form = {key: str(value) for key, value in (await request.form()).items()}
        kind, _, credentials = request.headers.get("authorization", "").partition(" ")
        self.asked.append({**form, "credentials": base64.b64decode(credentials).decode(), "kind": kind})
        if self.asked[-1]["credentials"] != f"aibridge:{SECRET}":
            return JSONResponse({"error": "invalid_client"}, 401)
        self.tokens.add(token := secrets.token_hex(8))
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def guarding(self, app: ASGIApp, authority: str | None = None) -> ASGIApp:
        """`app` for those who bring a token; it sends others to `authority`, by default this one."""

        async def metadata(request: Request) -> Response:
            here = str(request.url).replace("/.well-known/oauth-protected-resource", "")
            servers = [authority or self.origin]
            return JSONResponse({"resource": here, "authorization_servers": servers})

        door = Starlette(routes=[Route("/.well-known/oauth-protected-resource/{rest}", metadata)])

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
            elif scope["path"].startswith("/.well-known"):
                await door(scope, receive, send)
            elif Request(scope).headers.get("authorization", "")[7:] in self.tokens:
                await app(scope, receive, send)
            else:
                await Response("", 401, {"www-authenticate": "Bearer"})(scope, receive, send)

        return guarded


@contextmanager
def guarded(
    kind: str, authority: Authority, elsewhere: str | None = None, **more: Any
) -> Iterator[tuple[House, dict[str, McpServer]]]:
    house = House()
    app = house.server.sse_app() if kind == "sse" else house.server.streamable_http_app()
    with serving(authority.app) as issuer, serving(authority.guarding(app, elsewhere)) as served:
        authority.origin = issuer.url
        oauth = {
            "issuer": issuer.url,
            "client_id": "aibridge",
            "client_secret": SECRET,
            "scope": "tools",
            **more,
        }
        kinds: dict[str, Any] = {"auto": {}, "legacy": {"mode": "legacy"}, "sse": {"type": "sse"}}
        path = "sse" if kind == "sse" else "mcp"
        yield house, {"house": McpServer(url=f"{served.url}/{path}", oauth=oauth, **kinds[kind])}


@KINDS
async def test_a_token_is_asked_for_once_and_used(kind: str) -> None:
    authority = Authority()
    with guarded(kind, authority) as (_, servers):
        async with opened(servers) as box:
            assert "house__echo" in await names(box)
            assert (await ask(box, "house__echo", text="hi")).text == "hi"
    [asked] = authority.asked
    assert (asked["grant_type"], asked["scope"], asked["kind"]) == ("client_credentials", "tools", "Basic")


@KINDS
async def test_calls_with_tokens_overlap(kind: str) -> None:
    with guarded(kind, Authority()) as (_, servers):
        async with opened(servers) as box:
            results = await run(box, *(a_call("house__meet", '{"count": 4}', id=str(at)) for at in range(4)))
            assert [result.text for result in results] == ["met 4"] * 4


@pytest.mark.parametrize("kind", ["auto", "legacy"])
async def test_a_token_that_is_refused_is_replaced_and_the_call_runs_once(kind: str) -> None:
    authority = Authority()
    with guarded(kind, authority) as (house, servers):
        async with opened(servers) as box:
            authority.tokens.clear()
            results = await asyncio.gather(*(ask(box, "house__echo", text=str(at)) for at in range(5)))
            assert [result.text for result in results] == [str(at) for at in range(5)]
            assert [house.notes[f"echo {at}"] for at in range(5)] == [1] * 5
            assert len(authority.asked) == 2


async def test_a_wrong_secret_is_explained_and_not_shown() -> None:
    authority = Authority()
    with guarded("auto", authority, client_secret="another-long-secret") as (_, servers):
        async with opened(servers, connected=False) as box:
            await until(lambda: box.states()["house"]["error"])
            error = box.states()["house"]["error"]
            assert error == "Its authorization server gave no token; the log says why."


async def test_an_authorization_server_that_is_down_fails_calls_and_comes_back() -> None:
    authority = Authority()
    with guarded("auto", authority) as (house, servers):
        async with opened(servers) as box:
            authority.tokens.clear()
            authority.down = True
            failed = await ask(box, "house__echo", text="one")
            assert "its authorization server gave no token" in failed.text
            authority.down = False
            assert (await ask(box, "house__echo", text="two")).text == "two"
            assert (house.notes["echo one"], house.notes["echo two"]) == (0, 1)


async def test_the_secret_goes_to_the_configured_issuer_only() -> None:
    authority, thief = Authority(), Authority()
    with serving(thief.app) as other:
        thief.origin = other.url
        with guarded("auto", authority, elsewhere=other.url) as (_, servers):
            async with opened(servers, connected=False) as box:
                await until(lambda: box.states()["house"]["error"])
    assert thief.asked == [] and authority.asked == []
