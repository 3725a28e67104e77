"""No request goes to an MCP server unless a model calls one of its tools: counted at a real server."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import ask
from tests.support.serving import Model, scripted_model
from tests.support.waiting import eventually
from tests.tools.sites import Site, site

KINDS = pytest.mark.parametrize("kind", ["auto", "legacy", "sse"])


def _say(bridge: Bridged, said: str) -> Any:
    got = ask(bridge.port, model="scripted-1", messages=[{"role": "user", "content": said}])
    assert got.status == 200
    return got.json["choices"][0]["message"]["content"]


def _quiet(there: Site) -> int:
    """How many requests came, once none comes any more by itself."""
    before = -1

    def still() -> bool:
        nonlocal before
        before, last = len(there.seen), before
        return before == last

    eventually(still)
    return len(there.seen)


@KINDS
def test_requests_that_call_no_tool_cost_a_server_nothing(kind: str, tmp_path: Path) -> None:
    with site(kind) as there, scripted_model() as model:
        config = configuration(tmp_path, model.base_url, mcp_servers=_servers(there))
        with bridged(tmp_path, config) as bridge:
            began = _quiet(there)
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
