"""The house behind a socket of this process, over every kind of HTTP; what each request brought is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aibridge.config import McpServer
from tests.support.serving import serving
from tests.tools.house import House


@dataclass
class Site:
    """A house behind a socket."""

    house: House
    servers: dict[str, McpServer]
    seen: list[dict[str, str]]
    refused: set[str] = field(default_factory=set)
    """Users, by the header `x-user`, who get 401."""


def configured(origin: str, kind: str, **more: Any) -> McpServer:
    """A server of this kind: `auto` or `legacy` streamable HTTP, or legacy `sse`."""
    if kind == "sse":
        return McpServer(url=f"{origin}/sse", type="sse", **more)
    return McpServer(url=f"{origin}/mcp", mode="legacy" if kind == "legacy" else "auto", **more)


@contextmanager
def site(kind: str, **more: Any) -> Iterator[Site]:
    """The house over `auto` or `legacy` streamable HTTP, or over legacy `sse`."""
    there = Site(House(), {}, [])
    app = there.house.server.sse_app() if kind == "sse" else there.house.server.streamable_http_app()

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {key.decode(): value.decode() for key, value in scope.get("headers", ())}
        there.seen.append(headers)
        refused = headers.get("x-user") in there.refused
        await (Response("", 401) if refused else app)(scope, receive, send)

    with serving(listening) as served:
        there.servers["house"] = configured(served.url, kind, **more)
        yield there
