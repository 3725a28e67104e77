"""Applications that embed the bridge test it with respx: httpx2's own transport in place of ours."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
import respx
from respx.mocks import HTTPCoreMocker

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import COMPLETION, DONE, STREAM, ask, said

BASE = "http://model.example/v1"


class HTTPCore2Mocker(HTTPCoreMocker):  # type: ignore[misc,unused-ignore]
    """respx's hook into httpcore, for the httpcore2 below httpx2."""

    name = "httpcore2"
    targets = [target.replace("httpcore.", "httpcore2.") for target in HTTPCoreMocker.targets]  # noqa: RUF012


@pytest.fixture
def mocked() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpcore2", base_url=BASE) as router:
        yield router


@pytest.fixture
def bridge(tmp_path: Path, mocked: respx.MockRouter) -> Iterator[Bridged]:
    config = configuration(tmp_path, BASE)
    with bridged(tmp_path, config, {"demo": create_server()}, httpx2.AsyncHTTPTransport()) as bridge:
        yield bridge


def test_an_answer_of_respx_is_relayed(bridge: Bridged, mocked: respx.MockRouter) -> None:
    route = mocked.post("/chat/completions").respond(content=COMPLETION, content_type="application/json")
    got = ask(bridge.port, [("Authorization", "Bearer sk-callers")])
    assert (got.status, got.body) == (200, COMPLETION)
    request = route.calls.last.request
    assert request.headers["authorization"] == "Bearer sk-callers"
    assert b"demo__add" in request.content


def test_a_stream_of_respx_with_an_injected_call_is_one_answer(
    bridge: Bridged, mocked: respx.MockRouter
) -> None:
    function = {"name": "demo__add", "arguments": '{"a": 19, "b": 23}'}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}

    async def calls() -> AsyncIterator[bytes]:
        for event in (said(None, role="assistant", tool_calls=[call]), said(None, "tool_calls"), DONE):
            yield event

    sse = {"content-type": "text/event-stream"}
    route = mocked.post("/chat/completions")
    route.side_effect = [
        respx.MockResponse(200, headers=sse, content=calls()),
        respx.MockResponse(200, headers=sse, content=STREAM),
    ]
    got = ask(bridge.port, stream=True)
    assert got.status == 200 and got.body.count(DONE) == 1
    assert b"Hel" in got.body and b"demo__add" not in got.body
    assert b'"content":"42"' in route.calls.last.request.content


def test_an_error_of_respx_is_told(bridge: Bridged, mocked: respx.MockRouter) -> None:
    mocked.post("/chat/completions").mock(side_effect=httpx2.ConnectError("refused"))
    got = ask(bridge.port)
    assert (got.status, got.error["code"]) == (502, "upstream_unreachable")
    mocked.post("/chat/completions").mock(side_effect=httpx2.ReadTimeout("late"))
    assert ask(bridge.port).error["code"] == "upstream_timeout"
    mocked.post("/chat/completions").respond(
        429, json={"error": {"message": "slow"}}, headers={"retry-after": "9"}
    )
    got = ask(bridge.port)
    assert (got.status, got.header("retry-after")) == (429, "9")
