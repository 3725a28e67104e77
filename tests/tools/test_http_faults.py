"""HTTP servers that answer one call badly: that call is told, nothing is run twice, the next one works."""

from collections.abc import Callable

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aibridge.config import McpServer
from tests.support.serving import serving
from tests.tools.boxes import ask, opened
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


class Cut(Exception):
    """Raised in an application: uvicorn then closes the connection in the middle of the answer."""


class Faulty:
    """Hands on to the house, but the next call of a tool fails in the way that `fault` says."""

    def __init__(self) -> None:
        self.house = House()
        self._app: ASGIApp = self.house.server.streamable_http_app()
        self.fault: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        fault = None
        if b'"tools/call"' in body:
            fault, self.fault = self.fault, None
        await self._answer(fault, scope, _again(body, receive), send)

    async def _answer(self, fault: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        match fault:
            case None:
                await self._app(scope, receive, send)
            case "cut":
                await self._app(scope, receive, _cutting(send))
            case status:
                await Response("no", int(status))(scope, receive, send)


def _again(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _cutting(send: Send) -> Send:
    """Sends the head and then nothing: the connection breaks when the answer is there."""

    async def cutting(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            raise Cut
        if message["type"] == "http.response.start":
            kept = [pair for pair in message["headers"] if pair[0] != b"content-length"]
            message = {**message, "headers": [*kept, (b"content-length", b"100000")]}
        await send(message)

    return cutting


async def _one_fault(mode: str, fault: str, check: Callable[[str, int], None]) -> None:
    """A call with the fault, looked at by `check` with its text and how often it ran; then one without."""
    faulty = Faulty()
    with serving(faulty) as served:
        async with opened({"house": McpServer(url=f"{served.url}/mcp", mode=mode)}) as box:
            faulty.fault = fault
            result = await ask(box, "house__echo", text="one")
            check(result.text, faulty.house.notes["echo one"])
            assert (await ask(box, "house__echo", text="two")).text == "two"
            assert faulty.house.notes["echo two"] == 1


@ERAS
@pytest.mark.parametrize("status", ["500", "502", "429", "413"])
async def test_a_status_is_told_and_fails_that_call_only(mode: str, status: str) -> None:
    def told(text: str, ran: int) -> None:
        assert f"the server answered HTTP {status}" in text
        assert ran == 0

    await _one_fault(mode, status, told)


@ERAS
async def test_an_answer_that_is_cut_is_told_and_not_asked_for_again(mode: str) -> None:
    def told(text: str, ran: int) -> None:
        assert "may have been carried out" in text
        assert ran == 1

    await _one_fault(mode, "cut", told)


async def test_a_session_that_is_gone_is_begun_anew_and_the_call_runs_once() -> None:
    def told(text: str, ran: int) -> None:
        assert (text, ran) == ("one", 1)

    await _one_fault("legacy", "404", told)
