"""The OpenAPI 3.1 document, made of the same routes that are served, so that it cannot drift."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter

from aibridge import __version__
from aibridge.web.api.describing import ApiRoute

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "one sentence"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the name that is wrong"},
                "code": {"type": "string"},
            },
        }
    },
}
REFUSED = {
    400: "something in the request is wrong",
    401: "the admin key is wrong or missing",
    403: "only this machine, or an admin, may ask",
    404: "there is none of that name, or records are off",
    409: "it is so already, another stands in the way, or records are off",
    413: "the body is too large",
    415: "the body is no application/json",
    422: "what is wanted cannot be done",
    503: "the records' database, or aibridge itself, is not ready",
}
ALWAYS = (400, 401, 403, 503)


def document(routes: Iterable[ApiRoute]) -> Json:
    """The document for `routes`."""
    schemas: Json = {"Error": ERROR}
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aibridge",
            "version": __version__,
            "description": "Usage, exchanges and administration of aibridge.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"admin": []}, {}],
    }


def _operation(route: ApiRoute, schemas: Json) -> Json:
    told: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "parameters": [*_in_path(route), *_in_query(route, schemas)],
        "responses": {str(route.status): _answer(route, schemas), **_refusals(route)},
    }
    if route.body is not None:
        schema = _moved(route.body.model_json_schema(ref_template=REF), schemas)
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return told


def _operation_id(route: ApiRoute) -> str:
    words = [word.strip("{}").replace(".", "_") for word in route.path.split("/")[2:]]
    return "_".join([route.method.lower(), *words])


def _in_path(route: ApiRoute) -> Iterator[Json]:
    for name in route.names:
        told = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        yield {**told, "description": route.told_in_path.get(name, "")}


def _in_query(route: ApiRoute, schemas: Json) -> Iterator[Json]:
    schema = _moved(route.query.model_json_schema(ref_template=REF), schemas)
    for name, each in schema.get("properties", {}).items():
        described = {key: value for key, value in each.items() if key not in ("title", "description")}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": each.get("description", ""),
            "schema": _without_null(described),
        }


def _without_null(schema: Json) -> Json:
    """A query has no null: what may be absent is a parameter that is not required."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    rest = {
        key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)
    }
    if len(kinds) == 1:
        return {**rest, **kinds[0]}
    return {**rest, "anyOf": kinds} if kinds else rest


def _answer(route: ApiRoute, schemas: Json) -> Json:
    told: Json = {"description": route.summary}
    if route.status == 204:
        return told
    content: Json = {}
    for media in route.media:
        if media != "application/json":
            content[media] = {"schema": {"type": "string"}}
            continue
        schema = TypeAdapter(route.returns).json_schema(ref_template=REF, mode="serialization")
        content[media] = {"schema": _moved(schema, schemas)}
    return {**told, "content": content}


def _refusals(route: ApiRoute) -> Json:
    statuses = {*ALWAYS, *route.refuses, *((413, 415) if route.body is not None else ())}
    content = {"application/json": {"schema": {"$ref": REF.format(model="Error")}}}
    return {str(status): {"description": REFUSED[status], "content": content} for status in sorted(statuses)}


def _moved(schema: Json, schemas: Json) -> Json:
    """`schema` with its definitions moved to the document's."""
    schemas.update(schema.pop("$defs", {}))
    return schema
