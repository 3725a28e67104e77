"""The scripted model's `/v1/responses`: what was said is kept, by response, by item and by conversation."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aibridge.demo import responses
from aibridge.demo.answering import Asked, answer, fail, failed_before, keep, refuse, stream
from aibridge.demo.judging import Objection, objection_to
from aibridge.demo.replying import Json, Reply, reply_to


@dataclass(slots=True)
class Kept:
    """What the model keeps for later requests."""

    responses: dict[str, Json] = field(default_factory=dict)
    context: dict[str, list[Json]] = field(default_factory=dict)
    """All items up to and with a response, or of a conversation."""
    asked: dict[str, list[Json]] = field(default_factory=dict)
    """The input items of a response."""
    items: dict[str, Json] = field(default_factory=dict)


def routes() -> list[Route]:
    """`POST /v1/responses`, and what can be asked of a response that is kept."""
    kept = Kept()
    return [
        Route("/v1/responses", _asking(kept), methods=["POST"]),
        Route("/v1/responses/input_tokens", _counting(kept), methods=["POST"]),
        Route("/v1/responses/{id}", _of_one(kept, lambda kept, id_: kept.responses[id_]), methods=["GET"]),
        Route("/v1/responses/{id}", _forgetting(kept), methods=["DELETE"]),
        Route("/v1/responses/{id}/cancel", _of_one(kept, _cancelled), methods=["POST"]),
        Route("/v1/responses/{id}/input_items", _of_one(kept, _input_items), methods=["GET"]),
    ]


def _asking(kept: Kept) -> Callable[[Request], Awaitable[Response]]:
    async def ask(request: Request) -> Response:
        asked = keep(request)
        try:
            asked.body = await request.json()
        except ValueError:
            return refuse(asked, Objection("We could not parse the JSON body of your request."))
        found = _conversation(asked.body, kept)
        if isinstance(found, Objection):
            return refuse(asked, found)
        before, said = found
        items = [*before, *said]
        as_chat = responses.as_chat(asked.body, items)
        objection = responses.objection_to_items(asked.body, items) or objection_to(as_chat)
        if objection:
            return refuse(asked, objection)
        reply = reply_to(as_chat)
        asked.round, asked.digest = reply.round, reply.digest
        if reply.plan.status != 200 and not failed_before(request, asked, reply):
            return fail(asked, reply.plan.status)
        asked.usage = responses.usage(items, asked.body, reply)
        _keep(kept, asked.body, reply, items, said)
        return _answered(asked, reply, items)

    return ask


def _counting(kept: Kept) -> Callable[[Request], Awaitable[Response]]:
    async def count(request: Request) -> Response:
        asked = keep(request)
        asked.body = await request.json()
        found = _conversation(asked.body, kept)
        if isinstance(found, Objection):
            return refuse(asked, found)
        items = [*found[0], *found[1]]
        return JSONResponse({"object": "response.input_tokens", "input_tokens": responses.tokens(items)})

    return count


def _answered(asked: Asked, reply: Reply, items: list[Json]) -> Response:
    if not asked.body.get("stream"):
        return answer(asked, reply, responses.completion(asked.body, reply, items))
    events = responses.events(asked.body, reply, items)
    cut = max(2, len(events) // 2)
    whole = not (reply.plan.breaks or reply.plan.errs)
    events = events if whole else events[:cut]
    if reply.plan.errs:
        events.append(responses.failed(asked.body, reply, cut))
    return stream(asked, reply, [(event["type"], event) for event in events])


def _conversation(body: Any, kept: Kept) -> tuple[list[Json], list[Json]] | Objection:
    """What was said before, and what is said now."""
    if not isinstance(body, dict) or not isinstance(body.get("input", []), str | list):
        return Objection("Invalid type for 'input'.", "input", "invalid_type")
    said, unknown = responses.resolved(responses.input_items(body), kept.items)
    if unknown:
        return Objection(f"Item with id '{unknown}' not found.", "input")
    named = body.get("conversation")
    place = body.get("previous_response_id") or (named.get("id") if isinstance(named, dict) else named)
    if place is None:
        return [], said
    if place not in kept.context and body.get("previous_response_id"):
        told = f"Previous response with id '{place}' not found."
        return Objection(told, "previous_response_id", "previous_response_not_found")
    return kept.context.get(place, []), said


def _keep(kept: Kept, body: Json, reply: Reply, items: list[Json], said: list[Json]) -> None:
    whole = responses.completion(body, reply, items)
    named = body.get("conversation")
    place = named.get("id") if isinstance(named, dict) else named
    if body.get("store") is not False:
        kept.responses[whole["id"]] = whole
        kept.asked[whole["id"]] = said
        kept.context[whole["id"]] = [*items, *whole["output"]]
        kept.items.update({item["id"]: item for item in whole["output"]})
    if place:
        kept.context[place] = [*items, *whole["output"]]


def _of_one(kept: Kept, told: Callable[[Kept, str], Json]) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        id_ = request.path_params["id"]
        asked = keep(request)
        return JSONResponse(told(kept, id_)) if id_ in kept.responses else fail(asked, 404)

    return show


def _forgetting(kept: Kept) -> Callable[[Request], Awaitable[Response]]:
    async def forget(request: Request) -> Response:
        id_ = request.path_params["id"]
        asked = keep(request)
        if kept.responses.pop(id_, None) is None:
            return fail(asked, 404)
        return JSONResponse({"id": id_, "object": "response", "deleted": True})

    return forget


def _cancelled(kept: Kept, id_: str) -> Json:
    return {**kept.responses[id_], "status": "cancelled"}


def _input_items(kept: Kept, id_: str) -> Json:
    return {"object": "list", "data": list(reversed(kept.asked[id_])), "has_more": False}
