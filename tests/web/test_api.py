"""The frame of `/api`: routes found, queries and bodies read, errors in OpenAI's shape, one document."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel, Field

from aibridge.errors import BridgeError, Kind
from aibridge.web.api import Api, ApiRoute, Asked, Query, only_this_machine
from tests.support.bridged import Bridged
from tests.support.clients import http_client

Json = dict[str, Any]


class Thing(BaseModel):
    name: str
    size: int | None


class Which(Query):
    least: int = Field(0, ge=0, description="the smallest size")
    color: str | None = Field(None, description="its color")


class Wanted(Query):
    size: int = Field(ge=1)


async def _list(asked: Asked) -> list[Json]:
    return [{"name": asked.actor, "size": asked.query.least}]


async def _make(asked: Asked) -> Json:
    if asked.path["name"] == "taken":
        raise BridgeError(Kind.BAD_REQUEST, "the name taken is taken", "name")
    return {"name": asked.path["name"], "size": asked.body.size}


async def _drop(_asked: Asked) -> None:
    return None


ROUTES = (
    ApiRoute("GET", "/api/things", "All things.", _list, list[Thing], query=Which),
    ApiRoute("PUT", "/api/things/{name}", "Make one.", _make, Thing, body=Wanted, status=201),
    ApiRoute("DELETE", "/api/things/{name}", "Drop one.", _drop, None, status=204),
)


def _ask(method: str, path: str, client: tuple[str, int] = ("127.0.0.1", 1), **more: Any) -> httpx2.Response:
    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(
            Api(lambda: ROUTES, only_this_machine, lambda error, scope: None), client=client
        )
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.request(method, path, **more)

    return asyncio.run(ask())


def _error(answer: httpx2.Response) -> tuple[int, str, str | None]:
    told = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert set(told) == {"message", "type", "param", "code"}
    return answer.status_code, told["message"], told["param"]


def test_a_route_gets_what_was_asked_and_who_asks() -> None:
    answer = _ask("GET", "/api/things?least=3")
    assert (answer.status_code, answer.json()) == (200, [{"name": "this machine", "size": 3}])
    answer = _ask("PUT", "/api/things/ada%20l", json={"size": 2})
    assert (answer.status_code, answer.json()) == (201, {"name": "ada l", "size": 2})
    answer = _ask("DELETE", "/api/things/ada")
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message", "param"),
    [
        ("GET", "/api/things?least=-1", None, 400, "least: Input should be greater", "least"),
        ("GET", "/api/things?least=x", None, 400, "least: Input should be a valid integer", "least"),
        ("GET", "/api/things?weather=1", None, 400, "weather is unknown; known here: least", "weather"),
        ("GET", "/api/things?least=1&least=2", None, 400, "least stands twice", "least"),
        ("GET", "/api/things?color=%ff", None, 400, "the query cannot be read", None),
        ("DELETE", "/api/things/ada?x=1", None, 400, "x is unknown; known here: none", "x"),
        ("PUT", "/api/things/ada", b"{", 400, "the body is no JSON", None),
        ("PUT", "/api/things/ada", b"[]", 400, "the body: Input should be an object", None),
        ("PUT", "/api/things/ada", b"{}", 400, "size is missing", "size"),
        ("PUT", "/api/things/ada", b'{"size": 0}', 400, "size: Input should be greater", "size"),
        ("PUT", "/api/things/taken", b'{"size": 1}', 400, "the name taken is taken", "name"),
        ("PUT", "/api/things/ada", b" " * (1 << 21), 413, "the body is over 1048576 bytes", None),
        ("POST", "/api/things", b"{}", 405, "/api/things takes GET, HEAD, not POST", None),
        ("GET", "/api/weather", None, 404, "there is no /api/weather", None),
        ("GET", "/api/things/a/b", None, 404, "there is no /api/things/a/b", None),
    ],
)
def test_what_is_wrong_is_one_sentence(
    method: str, path: str, body: bytes | None, status: int, message: str, param: str | None
) -> None:
    answer = _ask(method, path, content=body, headers={"content-type": "application/json"})
    told, said, named = _error(answer)
    assert (told, named) == (status, param)
    assert said.startswith(message)


def test_a_body_is_json() -> None:
    status, message, _ = _error(_ask("PUT", "/api/things/ada", data={"size": "1"}))
    assert (status, message) == (415, "the body has to be application/json")


def test_a_method_that_is_refused_names_the_others() -> None:
    assert _ask("GET", "/api/things/ada").headers["allow"] == "PUT, DELETE"


def test_others_than_this_machine_are_refused_before_anything_is_read() -> None:
    for path in ("/api/things", "/api/weather", "/api/openapi.json"):
        status, message, _ = _error(_ask("GET", path, client=("10.0.0.7", 1)))
        assert status == 403
        assert "only for this machine" in message
    assert _ask("GET", "/api/things", headers={"x-forwarded-for": "10.0.0.7"}).status_code == 403


def test_the_document_describes_every_route() -> None:
    told = _ask("GET", "/api/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    assert {path: sorted(each) for path, each in told["paths"].items()} == {
        "/api/things": ["get"],
        "/api/things/{name}": ["delete", "put"],
        "/api/openapi.json": ["get"],
    }
    least, color = told["paths"]["/api/things"]["get"]["parameters"]
    assert least["schema"] == {"default": 0, "minimum": 0, "type": "integer"}
    assert (least["required"], least["description"]) == (False, "the smallest size")
    assert color["schema"] == {"type": "string"}
    put = told["paths"]["/api/things/{name}"]["put"]
    assert put["requestBody"]["content"]["application/json"]["schema"]["required"] == ["size"]
    assert set(put["responses"]) == {"201", "400", "401", "403", "413", "415", "503"}
    assert "Thing" in json.dumps(told["components"])


def test_the_running_bridge_serves_its_document(bridge: Bridged) -> None:
    with http_client() as client:
        told = client.get(f"{bridge.url}/api/openapi.json").json()
        missing = client.get(f"{bridge.url}/api/none")
    assert "/api/openapi.json" in told["paths"]
    assert _error(missing)[0] == 404
