"""Serves the routes of `/api`: finds the route, lets the guard look, reads, answers in JSON.

Its errors have OpenAI's shape, as everywhere. Blocking work is the route's own to hand to a thread.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter
from starlette.responses import Response
from starlette.types import Receive, Send

from aibridge.dialects import OPENAI
from aibridge.errors import BridgeError, Kind
from aibridge.web.api.describing import ApiRoute, Asked
from aibridge.web.api.guarding import Admin
from aibridge.web.api.openapi import document
from aibridge.web.api.reading import read_json, read_query
from aibridge.web.body import ClientLeft
from aibridge.web.headers import Scope
from aibridge.web.reply import send_error

MAX_BODY = 1 << 20
"""Bytes of a body; what operators send is small."""
DOCUMENT = "/api/openapi.json"


class Api:
    """The ASGI application below `/api/`. The table of routes is made with the first request."""

    def __init__(
        self,
        routes: Callable[[], Iterable[ApiRoute]],
        admin: Admin,
        refused: Callable[[BridgeError, Scope], None],
    ) -> None:
        """`refused` hears of errors, and knows which of them refuse somebody."""
        self._routes, self._admin, self._refused = routes, admin, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            answer = await self._answer(scope, receive)
        except ClientLeft:
            return
        except BridgeError as error:
            self._refused(error, scope)
            await send_error(send, error)
            return
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        actor = self._admin(scope)
        found = self._found(scope)
        if isinstance(found, Response):
            return found
        served, names = found
        asked = Asked(
            path=names,
            query=read_query(scope, served.route.query),
            body=await read_json(scope, receive, served.route, MAX_BODY),
            actor=actor,
            scope=scope,
        )
        return served.told(await served.route.answer(asked))

    @cached_property
    def _table(self) -> "list[_Served]":
        own = ApiRoute("GET", DOCUMENT, "This document.", self._tell_document, dict[str, Any])
        return [_Served(route) for route in (*self._routes(), own)]

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(served.route for served in self._table)

    async def _tell_document(self, _asked: Asked) -> dict[str, Any]:
        return self._document

    def _found(self, scope: Scope) -> "tuple[_Served, Mapping[str, str]] | Response":
        """The route and the names in its path, or the refusal of the method. Raises BridgeError (404)."""
        path, method = scope["path"], scope["method"]
        matching = [(each, match) for each in self._table if (match := each.pattern.fullmatch(path))]
        if not matching:
            raise BridgeError(Kind.NOT_FOUND, f"there is no {path}; {DOCUMENT} lists what there is")
        for served, match in matching:
            if method in served.methods:
                return served, match.groupdict()
        known = ", ".join(name for served, _ in matching for name in served.methods)
        refused = BridgeError(Kind.METHOD_NOT_ALLOWED, f"{path} takes {known}, not {method}")
        return Response(OPENAI.error_body(refused), 405, {"allow": known}, "application/json")


class _Served:
    """A route with what is made of it once."""

    def __init__(self, route: ApiRoute) -> None:
        self.route = route
        self.pattern = route.pattern()
        self.methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)

    @cached_property
    def _written(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.route.returns)

    def told(self, answer: Any) -> Response:
        """The answer as a response."""
        if isinstance(answer, Response):
            return answer
        if self.route.status == 204:
            return Response(status_code=204)
        checked = self._written.validate_python(answer, from_attributes=True)
        body = self._written.dump_json(checked)
        return Response(body, self.route.status, media_type="application/json")
