"""Routes that aibridge does not serve itself: both ways untouched, as they come, and recorded as such."""

import gzip
import hashlib
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.gates import Gate
from tests.support.raw import Got, connection, read_response, request, send
from tests.support.serving import Served, serving
from tests.support.waiting import eventually

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
SLOW = 0.2
"""Seconds."""
PACKED = gzip.compress(b'{"packed": true}')


@dataclass
class Provider:
    """A provider's other routes, and what reached them."""

    name: str
    bytes_seen: int = 0
    asked: list[str] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    slow: Gate = field(default_factory=Gate)

    def app(self) -> Starlette:
        """Its routes."""
        return Starlette(
            routes=[
                Route("/v1/files", self.upload, methods=["POST"]),
                Route("/v1/audio", self.speak),
                Route("/v1/slow", self.wait),
                Route("/v1/broken", self.break_off),
                Route("/v1/packed", self.pack),
                Route("/v1/unchanged", self.unchanged),
                Route("/v1/models", self.models),
                Route("/v1/{rest:path}", self.echo, methods=METHODS),
            ]
        )

    async def upload(self, request: Request) -> Response:
        digest = hashlib.sha256()
        async for piece in request.stream():
            digest.update(piece)
            self.bytes_seen += len(piece)
        return JSONResponse({"sha256": digest.hexdigest(), "length": request.headers.get("content-length")})

    async def speak(self, request: Request) -> Response:
        async def sound() -> AsyncIterator[bytes]:
            yield b"first"
            await self.gate.wait()
            yield b"second"

        return StreamingResponse(sound(), media_type="audio/mpeg")

    async def wait(self, request: Request) -> Response:
        return Response(await self.slow.wait())

    async def break_off(self, request: Request) -> Response:
        return Response(b"part", headers={"content-length": "100"})

    async def pack(self, request: Request) -> Response:
        return Response(PACKED, media_type="application/json", headers={"content-encoding": "gzip"})

    async def models(self, request: Request) -> Response:
        self.asked.append("models")
        return JSONResponse({"object": "list", "data": [{"id": f"{self.name}-1", "owned_by": self.name}]})

    async def echo(self, request: Request) -> Response:
        told = {"name": self.name, "method": request.method, "url": str(request.url.path), "id": "e-1"}
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        body = (await request.body()).decode("latin-1")
        told["written"] = request.scope["raw_path"].decode()
        told["encoding"] = request.headers.get("content-encoding", "")
        return JSONResponse({**told, "query": request.url.query, "body": body, "usage": usage})

    async def unchanged(self, request: Request) -> Response:
        return Response(status_code=304, headers={"etag": '"1"', "content-length": "500"})


@pytest.fixture(scope="module")
def one() -> Provider:
    return Provider("one")


@pytest.fixture(scope="module")
def two() -> Provider:
    return Provider("two")


@pytest.fixture(scope="module")
def providers(one: Provider, two: Provider) -> Iterator[tuple[Served, Served]]:
    with serving(one.app()) as first, serving(two.app()) as second:
        yield first, second


@pytest.fixture(scope="module")
def proxy(providers: tuple[Served, Served], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    folder = tmp_path_factory.mktemp("passthrough")
    first, second = providers
    config = configuration(folder, first.base_url)
    config["upstreams"] = {
        "one": {"base_url": first.base_url, "models": ["one-*"], "api_key": "sk-first"},
        "two": {"base_url": second.base_url, "models": ["two-*"], "aliases": {"fast": "two-1"}},
        "gone": {"base_url": "http://127.0.0.1:9/v1", "models": ["gone-*"], "api_key": "sk-third"},
    }
    with bridged(folder, config) as bridge:
        yield bridge


@pytest.mark.parametrize("method", METHODS)
def test_method_path_query_and_body_reach_the_first_upstream(proxy: Bridged, method: str) -> None:
    got = send(proxy.port, b"a=1", [("content-type", "text/csv")], method=method, path="/v1/vector/x?y=%20z")
    assert got.json | {"usage": None} == {
        "name": "one", "method": method, "url": "/v1/vector/x", "id": "e-1",
        "query": "y=%20z", "body": "a=1", "usage": None, "written": "/v1/vector/x", "encoding": "",
    }  # fmt: skip
    assert got.header("x-aibridge-upstream") == "one"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_the_model_of_a_json_body_names_the_upstream(proxy: Bridged, path: str) -> None:
    assert send(proxy.port, b'{"model": "two-1", "input": "x"}', path=path).json["name"] == "two"


def test_a_path_may_name_the_upstream(proxy: Bridged) -> None:
    assert send(proxy.port, b'{"model": "one-1"}', path="/two/v1/embeddings").json["name"] == "two"
    assert send(proxy.port, method="GET", path="/two/v1/batches/b-1").json["url"] == "/v1/batches/b-1"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/one/v1/chat/completions"])
def test_other_methods_of_a_bridged_route_are_the_upstreams(proxy: Bridged, path: str) -> None:
    got = send(proxy.port, method="GET", path=path)
    assert (got.json["method"], got.json["url"]) == ("GET", "/v1/chat/completions")


def test_a_model_that_nobody_serves_is_not_found(proxy: Bridged) -> None:
    got = send(proxy.port, b'{"model": "three"}', path="/v1/embeddings")
    assert (got.status, got.error["code"]) == (404, "model_not_found")


def test_usage_and_upstream_are_recorded(proxy: Bridged) -> None:
    send(proxy.port, b'{"model": "two-1", "input": "x"}', path="/v1/embeddings")
    row = proxy.ended()
    told = {
        key: row[key] for key in ("api", "path", "model", "upstream", "status", "http_status", "response_id")
    }
    assert told == {
        "api": "passthrough", "path": "/v1/embeddings", "model": "two-1", "upstream": "two",
        "status": "completed", "http_status": 200, "response_id": "e-1",
    }  # fmt: skip
    usages = [each for each in proxy.rows("token_usages") if each["exchange_id"] == row["id"]]
    assert [each["input"] for each in usages] == [7]


def test_an_upload_reaches_the_upstream_while_it_is_sent(proxy: Bridged, one: Provider) -> None:
    half, before = b"x" * 3_000_000, one.bytes_seen
    head = request(proxy.port, headers=[("content-type", "application/pdf")], path="/v1/files", length=False)
    with connection(proxy.port) as client:
        client.sendall(head.replace(b"\r\n\r\n", b"\r\nContent-Length: 6000000\r\n\r\n") + half)
        eventually(lambda: one.bytes_seen > before, what="the first half at the upstream")
        client.sendall(half)
        got = read_response(client)
    assert got.json == {"sha256": hashlib.sha256(half * 2).hexdigest(), "length": "6000000"}


def test_an_upload_of_unknown_length_is_sent_on_in_chunks(proxy: Bridged) -> None:
    head = request(proxy.port, headers=[("content-type", "audio/wav")], path="/v1/files", length=False)
    with connection(proxy.port) as client:
        client.sendall(head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"))
        client.sendall(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        got = read_response(client)
    assert got.json == {"sha256": hashlib.sha256(b"hello world").hexdigest(), "length": None}


def test_an_answer_reaches_the_client_as_it_comes(proxy: Bridged, one: Provider) -> None:
    with one.gate, connection(proxy.port) as client:
        client.sendall(request(proxy.port, method="GET", path="/v1/audio"))
        with http.client.HTTPResponse(client, method="GET") as response:
            response.begin()
            assert response.read1() == b"first"
            one.gate.open()
            assert response.read() == b"second"
            assert response.headers["content-type"] == "audio/mpeg"


def test_an_encoded_answer_stays_encoded(proxy: Bridged) -> None:
    got = send(proxy.port, headers=[("accept-encoding", "gzip")], method="GET", path="/v1/packed")
    assert (got.body, got.header("content-encoding")) == (PACKED, "gzip")
    assert got.header("content-length") == str(len(PACKED))


def test_an_answer_that_breaks_off_breaks_off_for_the_client(proxy: Bridged) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        send(proxy.port, method="GET", path="/v1/broken")
    eventually(lambda: proxy.ended()["status"] == "failed", what="the record of it")


def test_an_upstream_that_is_down_is_said_in_a_sentence(proxy: Bridged) -> None:
    got = send(proxy.port, b'{"model": "gone-1"}', path="/v1/embeddings")
    assert (got.status, got.error["code"]) == (502, "upstream_unreachable")


def test_the_models_of_all_upstreams_are_one_list_without_what_is_down(
    proxy: Bridged, one: Provider, two: Provider
) -> None:
    for _ in range(2):
        got = send(proxy.port, method="GET", path="/v1/models", headers=[("authorization", "Bearer mine")])
        assert [each["id"] for each in got.json["data"]] == ["one-1", "two-1", "fast"]
        assert got.header("x-aibridge-unavailable") == "gone"
    assert (len(one.asked), len(two.asked)) == (1, 1), "asked once, then remembered"
    send(proxy.port, method="GET", path="/models", headers=[("authorization", "Bearer other")])
    assert (len(one.asked), len(two.asked)) == (1, 2), "a caller's own credential may see other models"


@pytest.mark.parametrize(
    "path",
    [
        "files/a%2Fb",
        "files/a%3Fb%23c",
        "files/100%25",
        "files/%252e%252e",
        "files/%ff",
        "files/a%0D%00b",
        "x//y",
    ],
)
def test_a_path_reaches_the_upstream_as_its_client_wrote_it(proxy: Bridged, path: str) -> None:
    for begin in ("/v1/", "/two/v1/", "/two/"):
        got = send(proxy.port, method="GET", path=f"{begin}{path}?q=a%26b")
        assert (got.json["written"], got.json["query"]) == (f"/v1/{path}", "q=a%26b")


@pytest.mark.parametrize(
    "path", ["/v1/../admin", "/v1/files/%2e%2e/%2E%2e/admin", "/two/v1/x/.%2e/y", "/v1/a%2F..%2Fb"]
)
def test_a_path_that_leads_out_of_the_upstreams_base_url_is_refused(proxy: Bridged, path: str) -> None:
    got = send(proxy.port, method="GET", path=path)
    assert got.status == 400
    assert "'..'" in got.error["message"]


def test_the_model_below_models_names_the_upstream(proxy: Bridged) -> None:
    got = send(proxy.port, method="GET", path="/v1/models/two-1%2Fx")
    assert (got.json["name"], got.json["written"]) == ("two", "/v1/models/two-1%2Fx")
    got = send(proxy.port, method="GET", path="/v1/models/fast")
    assert (got.json["name"], got.json["written"]) == ("two", "/v1/models/two-1")
    assert send(proxy.port, method="GET", path="/v1/models/nobody").error["code"] == "model_not_found"


def test_an_answer_without_a_body_that_tells_a_length_ends_in_order(proxy: Bridged) -> None:
    with connection(proxy.port) as client:
        for _ in range(2):
            client.sendall(request(proxy.port, method="GET", path="/v1/unchanged"))
            got = read_response(client, "GET")
            assert (got.status, got.header("etag"), got.body) == (304, '"1"', b"")
    assert proxy.ended()["status"] == "completed"


def test_the_model_is_found_in_json_that_is_packed(proxy: Bridged) -> None:
    packed = gzip.compress(b'\xef\xbb\xbf{"model": "two-1", "input": "x"}')
    headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    got = send(proxy.port, packed, headers, path="/v1/embeddings")
    assert (got.json["name"], got.json["encoding"]) == ("two", "gzip")
    assert got.json["body"].encode("latin-1") == packed, "an encoded body is not touched"
    packed = gzip.compress(b'{"model": "fast"}')
    got = send(proxy.port, packed, headers, path="/v1/embeddings")
    assert (got.json["encoding"], got.json["body"]) == ("", '{"model": "two-1"}')
    assert send(proxy.port, b"no gzip", headers, path="/v1/embeddings").status == 400


LONG = json.dumps({"input": "x" * 5000, "model": "two-1"}).encode()


@pytest.mark.parametrize("sized", [True, False])
def test_json_that_is_longer_than_what_is_read_goes_to_nobody_by_chance(
    providers: tuple[Served, Served], tmp_path: Path, *, sized: bool
) -> None:
    first, second = ({"base_url": each.base_url} for each in providers)
    config = configuration(tmp_path, "", server={"max_body": 1000})
    config["upstreams"] = {"one": {**first, "models": ["one-*"]}, "two": second}
    with bridged(tmp_path, config) as bridge:
        got = _send_long(bridge.port, "/v1/embeddings", sized=sized)
        assert (got.status, got.error["code"]) == (413, "request_too_large")
        assert "/{upstream}/v1/embeddings" in got.error["message"]
        got = _send_long(bridge.port, "/two/v1/embeddings", sized=sized)
        assert (got.json["name"], got.json["body"].encode()) == ("two", LONG)
    config["upstreams"] = {"one": first}
    with bridged(tmp_path, config) as bridge:
        got = _send_long(bridge.port, "/v1/embeddings", sized=sized)
        assert (got.json["name"], got.json["body"].encode()) == ("one", LONG)


def _send_long(port: int, path: str, *, sized: bool) -> Got:
    with connection(port) as client:
        if sized:
            client.sendall(request(port, LONG, path=path))
        else:
            head = request(port, path=path, length=False)
            client.sendall(head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"))
            for at in range(0, len(LONG), 700):
                piece = LONG[at : at + 700]
                client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.sendall(b"0\r\n\r\n")
        return read_response(client)


def test_the_time_until_the_upstream_answers_is_the_upstreams(proxy: Bridged, one: Provider) -> None:
    def take_time() -> None:
        one.slow.await_reached()
        time.sleep(SLOW)
        one.slow.open()

    with one.slow:
        taking = threading.Thread(target=take_time)
        taking.start()
        send(proxy.port, method="GET", path="/v1/slow")
        taking.join()
    assert proxy.ended()["upstream_ms"] >= SLOW * 1000 * 0.75
