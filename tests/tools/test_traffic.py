"""No request goes to an MCP server unless a model calls one of its tools: counted at a real server."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import ask
from tests.support.serving import Model, scripted_model
from tests.support.waiting import eventually
from tests.tools.sites import Site, site

COMPLETE = {"auto": 1 + 4, "legacy": 1 + 4, "sse": 1 + 5}
"""What came when a connection is complete: the server's start, then requests. `auto` and `sse` ask what there
is, list, subscribe, and list what may have changed until then; `sse` opens its stream before all that.
`legacy` begins its session in two requests, opens its stream and lists."""


def _say(bridge: Bridged, said: str) -> Any:
    got = ask(bridge.port, model="scripted-1", messages=[{"role": "user", "content": said}])
    assert got.status == 200
    return got.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("kind", COMPLETE)
def test_requests_that_call_no_tool_cost_a_server_nothing(kind: str, tmp_path: Path) -> None:
    with site(kind) as there, scripted_model() as model:
        config = configuration(tmp_path, model.base_url, mcp_servers=_servers(there))
        with bridged(tmp_path, config) as bridge:
            began = COMPLETE[kind]
            eventually(lambda: len(there.seen) >= began, what="the whole connection")
            for _ in range(20):
                assert _say(bridge, "say hello") == "hello"
            assert _offered(model) == 20
            assert len(there.seen) == began
            assert "hi" in _say(bridge, 'call house__echo {"text":"hi"}')
            assert len(there.seen) == began + 1
            assert there.house.notes["echo hi"] == 1


def _servers(there: Site) -> dict[str, Any]:
    return {name: config.model_dump(exclude_defaults=True) for name, config in there.servers.items()}


def _offered(model: Model) -> int:
    """How many requests offered the house's tools to the model."""
    return sum("house__echo" in str(asked.body["tools"]) for asked in model.asked)
