"""`GET /v1/models`: the models of all upstreams, in OpenAI's form."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aibridge.dialects import OPENAI
from aibridge.errors import BridgeError
from aibridge.web.callers import Door
from aibridge.web.codex_models import codex_model


class Listed(Protocol):
    """What the upstreams told."""

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        """The models' entries."""
        ...

    @property
    def stands_for(self) -> Mapping[str, str]:
        """What the upstream of a model is asked for, by the model's id."""
        ...

    @property
    def unavailable(self) -> Sequence[str]:
        """Upstreams that gave no list."""
        ...


Merged = Callable[[Sequence[tuple[bytes, bytes]], str], Awaitable[Listed]]


def models(merged: Callable[[], Merged], door: Door) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint; it tells what the caller's key allows, to Codex in the form that it reads.

    `x-aibridge-unavailable` names upstreams that gave no list.
    """

    async def list_models(request: Request) -> Response:
        try:
            caller = door.identify(request.scope)
            listed = await merged()(request.scope["headers"], caller.id)
        except BridgeError as error:
            door.refused(error, request.scope)
            return Response(OPENAI.error_body(error), error.kind.status, media_type="application/json")
        names = [(model["id"], listed.stands_for[model["id"]]) for model in listed.models]
        allowed = caller.rights.allow_model
        data = [model for model, known in zip(listed.models, names, strict=True) if allowed(*known)]
        headers = {"x-aibridge-unavailable": ", ".join(listed.unavailable)} if listed.unavailable else {}
        if "client_version" in request.query_params:  # Codex says its own
            codex = [codex_model(model, place) for place, model in enumerate(data)]
            return JSONResponse({"models": codex}, headers=headers)
        return JSONResponse({"object": "list", "data": data}, headers=headers)

    return list_models
