"""Headers of clients that are handed on to a server: every credential has sessions of its own."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from pydantic import ValidationError

from aibridge.config import McpServer
from aibridge.nouns import Result
from aibridge.tools import Toolbox
from aibridge.tools.branches import Branches, Credential
from aibridge.tools.failures import CallFailed
from aibridge.tools.server import Server
from tests.tools.boxes import a_call, names, opened, until
from tests.tools.house import House
from tests.tools.sites import site

pytestmark = pytest.mark.anyio
KINDS = pytest.mark.parametrize("kind", ["auto", "legacy", "sse"])
Headers = list[tuple[bytes, bytes]]


def sent_by(user: str) -> Headers:
    return [(b"authorization", b"Bearer for the model"), (b"X-User", user.encode())]


async def ask_as(box: Toolbox, user: str, tool: str = "house__who", count: int = 1) -> list[Result]:
    headers = sent_by(user)
    offer = await box.offer(None, headers)
    calls = [a_call(tool, id=f"{user}-{at}") for at in range(count)]
    return await box.run(calls, offer.tools, lambda call, result: None, headers)


@KINDS
@pytest.mark.usefixtures("nothing_left")
async def test_one_caller_never_gets_anothers_session(kind: str) -> None:
    with site(kind, forward_headers=["X-User"]) as there:
        async with opened(there.servers, connected=False) as box:
            users = [f"user-{at % 4}" for at in range(24)]
            answers = await asyncio.gather(*(ask_as(box, user, count=3) for user in users))
            for user, results in zip(users, answers, strict=True):
                assert [result.text for result in results] == [user] * 3
            assert box.states()["house"]["sessions"] == 4
            assert box.states()["house"]["calls"] == 72
        used = defaultdict(set)
        for headers in filter(None, there.seen):
            assert "authorization" not in headers
            used[headers.get("mcp-session-id", "none")].add(headers["x-user"])
        del used["none"]  # requests of the stateless protocol, and those that begin a session
        assert all(len(users) == 1 for users in used.values())
        assert kind != "legacy" or len(used) == 4


@pytest.mark.usefixtures("nothing_left")
async def test_a_caller_without_the_header_has_a_session_without_it() -> None:
    with site("auto", forward_headers=["x-user", "x-other"], headers={"X-User": "everybody"}) as there:
        async with opened(there.servers, connected=False) as box:
            assert box.states()["house"]["state"] == "idle"
            nobody, somebody = await box.offer(None), await box.offer(None, sent_by("me"))
            assert (nobody.scope, somebody.scope != "") == ("", True)
            assert (await box.offer(None, sent_by("me"))).scope == somebody.scope
            assert (await box.offer(None, sent_by("you"))).scope != somebody.scope
            [result] = await box.run([a_call("house__who")], nobody.tools, lambda call, result: None)
            assert result.text == "everybody"
            [result] = await ask_as(box, "me")
            assert result.text == "me"


@pytest.mark.usefixtures("nothing_left")
async def test_a_refused_credential_is_that_callers_alone() -> None:
    with site("auto", forward_headers=["x-user"]) as there:
        there.refused.add("bad")
        async with opened(there.servers, connected=False) as box:
            assert (await box.offer(None, sent_by("bad"))).unavailable == ("house",)
            assert (await box.offer(None, sent_by("good"))).unavailable == ()
            assert box.states()["house"]["state"] == "connected"
            [result] = await ask_as(box, "good")
            assert result.text == "good"


def branches(**more: Any) -> Branches:
    def with_credential(credential: Credential) -> Server:
        return Server("house", House().server)

    return Branches("house", ["x-user"], with_credential, **more)


@pytest.mark.usefixtures("nothing_left")
async def test_sessions_are_bounded_and_the_least_used_idle_one_goes() -> None:
    some = branches(most=2)
    first, second = some.at((("x-user", "1"),)), some.at((("x-user", "2"),))
    assert first is some.at((("x-user", "1"),))
    third = some.at((("x-user", "3"),))
    assert first is some.at((("x-user", "1"),)) and third is not None
    assert second is not some.at((("x-user", "2"),))
    assert some.told()["sessions"] == 2
    await some.aclose()


@pytest.mark.usefixtures("nothing_left")
async def test_a_session_that_is_used_is_not_closed_for_another() -> None:
    some = branches(most=1)
    server = some.at(())
    assert server is not None
    calling = asyncio.gather(server.call("hang", {}), return_exceptions=True)
    await until(lambda: server.vitals.running)
    assert some.at((("x-user", "1"),)) is None
    some.sweep()
    assert some.told()["sessions"] == 1
    await some.aclose()
    [ended] = await calling
    assert isinstance(ended, CallFailed)


@pytest.mark.usefixtures("nothing_left")
async def test_an_idle_session_is_closed() -> None:
    some = branches(idle=0)
    server = some.at(())
    assert server is not None
    await until(lambda: server.state == "connected")
    some.sweep()
    assert some.told()["sessions"] == 0
    await until(lambda: server.error == "It was stopped.")
    assert some.told()["state"] == "idle"
    await some.aclose()


@pytest.mark.usefixtures("nothing_left")
async def test_too_many_callers_at_once_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibridge.tools.branches.MOST", 1)
    with site("auto", forward_headers=["x-user"]) as there:
        async with opened(there.servers, connected=False) as box:
            running = asyncio.gather(ask_as(box, "first", "house__hang"))
            await until(lambda: there.house.notes["hang began"])
            second = await box.offer(None, sent_by("second"))
            assert second.unavailable == ("house",)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert "house__who" in await names(box)


@pytest.mark.parametrize("header", ["Host", "content-length", "mcp-session-id", "with space", ""])
def test_headers_of_the_request_itself_cannot_be_handed_on(header: str) -> None:
    with pytest.raises(ValidationError):
        McpServer(url="http://x/mcp", forward_headers=[header])


def test_a_program_gets_no_headers() -> None:
    with pytest.raises(ValidationError, match="go with `url`"):
        McpServer(command="x", forward_headers=["x-user"])
