"""Reads a request of `/api`: path, query, body; what is wrong is said in one sentence, with its name."""

from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.types import Receive

from aibridge.errors import BridgeError, Kind
from aibridge.web.api.describing import ApiRoute
from aibridge.web.body import read_body
from aibridge.web.headers import Scope, header


def read_query(scope: Scope, model: type[BaseModel]) -> BaseModel:
    """The query as `model`. Raises BridgeError (400)."""
    found: dict[str, str] = {}
    try:
        text = scope.get("query_string", b"").decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise BridgeError(Kind.BAD_REQUEST, "the query cannot be read; write name=value&…") from None
    for name, value in pairs:
        if name in found:
            raise BridgeError(Kind.BAD_REQUEST, f"{name} stands twice in the query", name)
        found[name] = value
    return _checked(model, found)


async def read_json(scope: Scope, receive: Receive, route: ApiRoute, limit: int) -> BaseModel | None:
    """The body as the route wants it. Raises BridgeError (400, 413, 415) and ClientLeft."""
    if route.body is None:
        return None
    media = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise BridgeError(Kind.UNSUPPORTED_MEDIA, "the body has to be application/json")
    body = await read_body(scope, receive, limit)
    try:
        return route.body.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise refusal(error, route.body) from None


def _checked(model: type[BaseModel], value: Any) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(error, model) from None


def refusal(error: ValidationError, model: type[BaseModel]) -> BridgeError:
    """The first problem in one sentence."""
    problem = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "json_invalid":
            return BridgeError(Kind.BAD_REQUEST, "the body is no JSON")
        case "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            return BridgeError(Kind.BAD_REQUEST, f"{name} is unknown; known here: {known}", name)
        case "missing":
            return BridgeError(Kind.BAD_REQUEST, f"{name} is missing; add it", name)
    said = problem["msg"].removeprefix("Value error, ")
    return BridgeError(Kind.BAD_REQUEST, f"{name or 'the body'}: {said}", name or None)
