"""A bridge before a model server that has chat completions alone; clients ask it for responses."""

from collections.abc import Iterator

import pytest
from mcp.server import MCPServer

from tests.bridge.translated.asking import close_clients
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.chatting import Chatting, chatting, saying


def clock() -> MCPServer:
    """One tool that aibridge injects."""
    server = MCPServer("clock")

    @server.tool()
    def now(city: str) -> str:
        """The time in a city."""
        return f"noon in {city}"

    return server


@pytest.fixture(scope="package")
def model() -> Iterator[Chatting]:
    """The upstream."""
    with chatting() as model:
        yield model


@pytest.fixture(scope="package")
def bridge(model: Chatting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    """The bridge in front of it."""
    folder = tmp_path_factory.mktemp("translated")
    config = configuration(folder, f"http://127.0.0.1:{model.port}/v1")
    config["upstreams"]["up"] |= {"apis": ["chat_completions"], "retries": 0}
    config["mcp_servers"] = {}
    with bridged(folder, config, {"clock": clock()}) as bridge:
        yield bridge


@pytest.fixture
def says(model: Chatting) -> Iterator[Chatting]:
    """The upstream with nothing said or asked before."""
    model.asked.clear()
    model.script = lambda body: saying("Hel", "lo")
    yield model


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """Nothing is left open."""
    yield
    close_clients()
