"""Servers over streamable HTTP, in both eras of the protocol, and over legacy SSE."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aibridge.config import McpServer
from tests.support.environment import free_port
from tests.support.serving import serving
from tests.tools.boxes import a_call, ask, names, opened, run, states, until
from tests.tools.remotes import Remote
from tests.tools.sites import site

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
KINDS = pytest.mark.parametrize("kind", ["auto", "legacy", "sse"])


@KINDS
async def test_tools_are_offered_and_called(kind: str) -> None:
    with site(kind) as there:
        async with opened(there.servers) as box:
            assert "house__echo" in await names(box)
            assert (await ask(box, "house__echo", text="hi")).text == "hi"


@KINDS
async def test_calls_of_one_turn_overlap(kind: str) -> None:
    with site(kind) as there:
        async with opened(there.servers) as box:
            calls = (a_call("house__meet", '{"count": 4}', id=str(at)) for at in range(4))
            assert [result.text for result in await run(box, *calls)] == ["met 4"] * 4


@KINDS
async def test_a_cancelled_call_is_cancelled_at_the_server(kind: str) -> None:
    with site(kind) as there:
        async with opened(there.servers) as box:
            running = asyncio.gather(run(box, a_call("house__hang")))
            await until(lambda: there.house.notes["hang began"])
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await until(lambda: there.house.notes["hang cancelled"])
            assert (await ask(box, "house__echo", text="still here")).text == "still here"


@KINDS
async def test_a_call_over_its_timeout_is_a_result(kind: str) -> None:
    with site(kind, timeout=0.3) as there:
        async with opened(there.servers) as box:
            assert (await ask(box, "house__hang")).status == "timeout"
            await until(lambda: there.house.notes["hang cancelled"])


@KINDS
async def test_a_changed_list_is_offered(kind: str) -> None:
    with site(kind) as there:
        async with opened(there.servers) as box:
            await ask(box, "house__grow", name="brand_new")
            await until(lambda: any(told.name == "house__brand_new" for told in box.explain()))


@ERAS
async def test_a_result_of_sixteen_megabytes_arrives(mode: str) -> None:
    with site(mode) as there:
        async with opened(there.servers, tool_result_limit=20_000_000) as box:
            result = await ask(box, "house__big", size=16 << 20)
            assert (result.status, len(result.text)) == ("ok", 16 << 20)


async def test_a_result_too_large_for_legacy_sse_fails_that_call_only() -> None:
    with site("sse") as there:
        async with opened(there.servers) as box:
            result = await ask(box, "house__big", size=16 << 20)
            assert result.status == "error"
            assert (await ask(box, "house__echo", text="still here")).text == "still here"


@KINDS
async def test_configured_headers_are_sent_with_every_request(kind: str) -> None:
    with site(kind, headers={"Authorization": "Bearer a-long-token"}) as there:
        async with opened(there.servers) as box:
            await ask(box, "house__echo", text="hi")
        requests = [headers for headers in there.seen if headers]
        assert {headers.get("authorization") for headers in requests} == {"Bearer a-long-token"}


@pytest.fixture
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """Its mode is the fixture's parameter."""
    remote = Remote(tmp_path, request.param)
    yield remote
    remote.kill()


@pytest.mark.parametrize("remote", ["auto", "legacy", "sse"], indirect=True)
async def test_a_server_that_dies_in_a_call_fails_that_call_and_comes_back(remote: Remote) -> None:
    await remote.start()
    async with opened(remote.servers) as box:
        killed = await ask(box, "house__die")
        assert (killed.status, "may have been carried out" in killed.text) == ("error", True)
        remote.kill()
        await until(lambda: box.states()["house"]["error"] == "It cannot be reached.")
        assert box.states()["house"]["state"] == "unavailable"
        assert "house__echo" in await names(box)
        waiting = asyncio.gather(ask(box, "house__echo", text="waited for you"))
        await remote.start()
        [result] = await waiting
        assert result.text == "waited for you"
    assert remote.noted("die") == 1
    assert remote.noted("echo waited for you") == 1


@pytest.mark.parametrize("remote", ["auto", "legacy", "sse"], indirect=True)
async def test_a_server_that_was_restarted_is_called_without_a_word(remote: Remote) -> None:
    await remote.start()
    async with opened(remote.servers) as box:
        assert (await ask(box, "house__echo", text="one")).text == "one"
        remote.kill()
        await remote.start()
        assert (await ask(box, "house__echo", text="two")).text == "two"
        assert remote.noted("echo two") == 1


async def answered_with(status: int, body: bytes, kind: str = "http", **more: Any) -> str | None:
    """The error of a server that answers everything so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Response(body, status, headers={"location": "https://u:secret@example.com/"})(
                scope, receive, send
            )

    with serving(app) as served:
        config = McpServer(url=f"{served.url}/mcp?key=secret", type=kind, **more)
        async with opened({"odd": config}, connected=False) as box:
            assert await names(box) == []
            error = box.states()["odd"]["error"]
            assert isinstance(error, str)
            assert "secret" not in error
            assert "http://" not in error
            return error


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_that_refuses_is_explained_by_its_status(status: int, kind: str) -> None:
    assert await answered_with(status, b"go away", kind) == f"It answered HTTP {status}."


async def test_a_server_that_is_no_mcp_server_is_explained() -> None:
    assert "Unexpected content type" in str(await answered_with(200, b"<html>"))


async def test_a_redirect_to_elsewhere_is_not_followed() -> None:
    assert "not followed" in str(await answered_with(307, b""))


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_that_is_not_there_is_explained(kind: str) -> None:
    url = f"http://user:secret@127.0.0.1:{free_port()}/mcp?key=secret"
    config = McpServer(url=url, type=kind)
    async with opened({"away": config}, connected=False) as box:
        assert await names(box) == []
        assert states(box)["away"] == {"state": "unavailable", "tools": 0, "error": "It cannot be reached."}


async def test_a_server_that_accepts_and_never_answers_delays_nobody_else() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    mute = McpServer(url=f"http://127.0.0.1:{listener.getsockname()[1]}/mcp")
    with listener, site("auto") as there:
        async with opened({"mute": mute, **there.servers}, connected=False) as box:
            assert "house__echo" in await names(box)
            assert states(box)["mute"] == {"state": "connecting", "tools": 0, "error": None}
