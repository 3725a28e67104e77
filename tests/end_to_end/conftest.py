"""The bridge between the clients and the scripted model, with the bundled MCP server behind it."""

import sys
from collections.abc import Iterator

import pytest

from tests.support.bridge import Bridge
from tests.support.serving import Model

pytest.register_assert_rewrite("tests.end_to_end.conversations", "tests.end_to_end.talking")


@pytest.fixture(scope="package")
def shared_bridge(shared_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    # Failures are scripted here, and have to reach the client as the upstream says them.
    as_it_is = {"retries": 0, "breaker": "off"}
    config = {
        "upstreams": {
            "scripted": {"base_url": shared_model.base_url, **as_it_is},
            # The same by another name: its path makes it one that has chat completions alone.
            "chatting": {
                "base_url": shared_model.base_url,
                "models": [],
                "apis": ["chat_completions"],
                **as_it_is,
            },
        },
        "mcp_servers": {"demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}},
    }
    with Bridge(tmp_path_factory.mktemp("bridge"), config) as bridge:
        yield bridge


@pytest.fixture
def bridge(model: Model, shared_bridge: Bridge) -> Bridge:
    """A bridge that injects the demo server's tools; the model's log is empty."""
    return shared_bridge


@pytest.fixture(params=["straight", "bridged"])
def base_url(request: pytest.FixtureRequest, model: Model) -> str:
    """The model itself, and the model through the bridge: a client must not feel the difference."""
    door: Model | Bridge = model if request.param == "straight" else request.getfixturevalue("bridge")
    return door.base_url
