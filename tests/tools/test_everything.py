"""The reference server that others wrote in TypeScript, over stdio and streamable HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aibridge.config import McpServer
from tests.support.environment import clean_env, free_port, node_program
from tests.support.processes import Program
from tests.tools.boxes import ask, names, opened

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]


class Everything:
    """The server over HTTP; it can be started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"http://127.0.0.1:{self._port}/mcp"
        self.program = self._start()

    def _start(self) -> Program:
        env = clean_env(self._folder / "home", PORT=str(self._port))
        command = (node_program("mcp-server-everything"), "streamableHttp")
        program = Program(command, self._folder, env, "everything")
        program.wait_for(self.url)
        return program

    def restart(self) -> None:
        """End it, with all of its sessions, and start it again."""
        self.program.stop()
        self.program = self._start()


@pytest.fixture
def everything(tmp_path: Path) -> Iterator[Everything]:
    """The server over HTTP."""
    server = Everything(tmp_path)
    yield server
    server.program.stop()


def over_stdio() -> McpServer:
    """The server as a program."""
    return McpServer(command=str(node_program("mcp-server-everything")), args=["stdio"])


async def test_its_kinds_of_content_become_text() -> None:
    async with opened({"all": over_stdio()}) as box:
        assert (await ask(box, "all__echo", message="hi")).text == "Echo: hi"
        image = (await ask(box, "all__get-tiny-image")).text
        assert "[image, image/png, " in image
        links = (await ask(box, "all__get-resource-links", count=2)).text
        assert links.count("[link to resource ") == 2
        structured = await ask(box, "all__get-structured-content", location="Chicago")
        assert "temperature" in structured.text
        resource = await ask(box, "all__get-resource-reference", resourceType="Text", resourceId=1)
        assert "[resource" not in resource.text


async def test_tools_that_need_a_task_are_not_offered() -> None:
    async with opened({"all": over_stdio()}) as box:
        left_out = [told.tool for told in box.explain() if told.reason == "it can only be run as a task"]
        assert left_out
        assert not {f"all__{tool}" for tool in left_out} & set(await names(box))


async def test_it_is_called_over_http(everything: Everything) -> None:
    async with opened({"all": McpServer(url=everything.url)}) as box:
        assert (await ask(box, "all__get-sum", a=2, b=3)).text == "The sum of 2 and 3 is 5."


async def test_a_session_that_it_forgot_is_begun_anew(everything: Everything) -> None:
    async with opened({"all": McpServer(url=everything.url)}) as box:
        assert (await ask(box, "all__echo", message="one")).text == "Echo: one"
        everything.restart()
        assert (await ask(box, "all__echo", message="two")).text == "Echo: two"
