"""`GET`, `DELETE /v1/responses/{id}` and what is below, for answers that aibridge keeps itself.

An answer is its caller's alone. Ids that are not kept here are handed on where an upstream may know them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Send

from aibridge.bridge.keeping import Owner
from aibridge.dialects.bodies import bad_request
from aibridge.dialects.responses.listing import listed
from aibridge.dialects.translating import KEPT
from aibridge.errors import BridgeError, Kind
from aibridge.web.callers import Door
from aibridge.web.headers import Scope
from aibridge.web.reply import send_error
from aibridge.wire.json_text import dumps

RESPONSES = "/responses/"


class Answers(Protocol):
    """The answers that are kept."""

    async def shown(self, id_: str, owner: Owner) -> Mapping[str, Any] | None:
        """The `answer` as its client has it, and what its request `brought`."""
        ...

    async def delete(self, id_: str, owner: Owner) -> bool:
        """Delete it; False where there is none. Raises BridgeError (503)."""
        ...


@dataclass(frozen=True, slots=True)
class KeptRoute:
    """An ASGI application in front of what is passed through."""

    answers: Callable[[], Answers]
    door: Door
    elsewhere: ASGIApp
    kept_upstream: Callable[[str | None], bool]
    """Whether the upstream of this name, or any, may keep answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `scope["aibridge.path"]` is its path below `/v1`."""
        id_, _, rest = scope["aibridge.path"].removeprefix(RESPONSES).partition("/")
        if not id_.startswith(KEPT):
            await self.elsewhere(scope, receive, send)
            return
        try:
            owner = Owner(self.door.identify(scope).id)
            kept = await self.answers().shown(id_, owner)
            told = None if kept is None else await self._told(scope, id_, rest, kept, owner)
        except BridgeError as error:
            self.door.refused(error, scope)
            await send_error(send, error)
            return
        if told is not None:
            await _send(send, told)
        elif self.kept_upstream(scope.get("aibridge.upstream")):
            await self.elsewhere(scope, receive, send)
        else:
            await send_error(send, BridgeError(Kind.NOT_FOUND, f"Response with id '{id_}' not found."))

    async def _told(
        self, scope: Scope, id_: str, rest: str, kept: Mapping[str, Any], owner: Owner
    ) -> Mapping[str, Any]:
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        match scope["method"], rest:
            case "GET", "":
                if query.get("stream") == "true":
                    raise bad_request("the answer was not made in the background: it has no stream", "stream")
                answer: Mapping[str, Any] = kept["answer"]
                return answer
            case "GET", "input_items":
                return listed(kept["brought"], id_, query)
            case "DELETE", "":
                await self.answers().delete(id_, owner)
                return {"id": id_, "object": "response", "deleted": True}
            case "POST", "cancel":
                raise bad_request("the answer was not made in the background: it cannot be cancelled")
        raise BridgeError(Kind.NOT_FOUND, f"{scope['method']} {scope['path']}: there is no such route")


async def _send(send: Send, told: Mapping[str, Any]) -> None:
    body = dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
