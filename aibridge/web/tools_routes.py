"""`GET /v1/tools`: the tools that a request like this one would get, and how the MCP servers are.

With `?explain=1` every tool of every server is told: under which name it is injected or why it is not, and
what it costs. The header `x-aibridge-tools` narrows the choice as it does for a request.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aibridge.bridge.ports import HeaderPairs
from aibridge.dialects import OPENAI
from aibridge.errors import BridgeError, Kind
from aibridge.nouns import MOST_TOOLS, Explanation, Offer, Rights, Tool
from aibridge.web.callers import Door
from aibridge.web.guard import from_this_machine

OFF = "injection is off for this request"
FOR_ALL = ("state", "tools")
"""Of a server's state, what is told beyond this machine."""


class Tools(Protocol):
    """What this route needs of the toolbox."""

    async def offer(self, wanted: str | None, headers: HeaderPairs) -> Offer:
        """See `bridge.ports.Toolbox`."""
        ...

    def explain(self, wanted: str | None, headers: HeaderPairs) -> Sequence[Explanation]:
        """What becomes of every tool of every server."""
        ...

    def states(self) -> Mapping[str, Mapping[str, Any]]:
        """How each server is."""
        ...


def tools_listing(
    toolbox: Callable[[], Tools], door: Door, *, inject: bool
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint; `inject` is the default for requests that say nothing."""

    async def listing(request: Request) -> Response:
        try:
            return JSONResponse(await _told(request, door.identify(request.scope).rights, toolbox(), inject))
        except BridgeError as error:
            door.refused(error, request.scope)
            return Response(OPENAI.error_body(error), error.kind.status, media_type="application/json")

    return listing


async def _told(request: Request, rights: Rights, box: Tools, inject: bool) -> dict[str, Any]:
    asked = (request.headers.get("x-aibridge-tools") or "").strip()
    headers = request.scope["headers"]
    wanted = rights.wanted(None if asked in ("", "on", "off") else asked)
    inject = inject if rights.inject is None else rights.inject
    off = asked == "off" or not (asked or inject) or rights.inject is False
    offer = Offer()
    refused: str | None = None
    try:
        offer = rights.narrow(await box.offer(wanted, headers))
    except BridgeError as error:
        if error.kind is not Kind.TOOLS_UNAVAILABLE:
            raise
        refused = error.message
    told: dict[str, Any] = {"object": "list"}
    if request.query_params.get("explain", "") not in ("", "0", "false"):
        explained = [each for each in box.explain(wanted, headers) if _may_see(rights, each)]
        data = [_explained(each, OFF if off else refused) for each in explained]
        told["data"], told["tokens"] = data, sum(each["tokens"] for each in data if each["name"])
    else:
        told["data"] = [] if off else [_tool(tool) for tool in offer.tools[:MOST_TOOLS]]
    return {
        **told,
        "unavailable": list(offer.unavailable),
        "refused": refused,
        "servers": _servers(request, box),
    }


def _may_see(rights: Rights, each: Explanation) -> bool:
    """A key is told of the tools that it allows."""
    return rights.allow_tool(Tool(each.name or "", each.server, each.tool, "", {}))


def _explained(each: Explanation, against: str | None) -> dict[str, Any]:
    told = asdict(each)
    return told if against is None else {**told, "name": None, "reason": told["reason"] or against}


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "server": tool.server,
        "tool": tool.own_name,
        "description": tool.description,
        "input_schema": tool.input_schema,
    }


def _servers(request: Request, box: Tools) -> dict[str, Any]:
    states = box.states()
    if from_this_machine(request.scope):
        return dict(states)
    return {name: {key: state[key] for key in FOR_ALL} for name, state in states.items()}
