"""What is refused for its key, model, limits or budget is counted in `/metrics` and told in the log alike."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from aibridge.dialects.translating import KEPT
from tests.support.bridge import Bridge
from tests.support.bridged import Bridged
from tests.support.keys import api, bearer, make_key, refusals
from tests.support.raw import JSON_TYPE, RawUpstream, ask, send
from tests.support.waiting import eventually

MCP = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'


def _bad_key(port: int, path: str, method: str = "POST") -> int:
    header = ("authorization", "Bearer sk-aib-abcdefghijkm-0123")
    return send(port, MCP, [JSON_TYPE, header], method=method, path=path).status


def _told(bridge: Bridged, act: Callable[[], object]) -> Counter[str]:
    """The refusals that `/metrics` counts for what `act` does."""
    before = refusals(bridge.port)
    act()
    return refusals(bridge.port) - before


def test_a_key_that_is_none_is_counted_on_every_route(bridge: Bridged) -> None:
    def ask_everywhere() -> None:
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/mcp"):
            assert _bad_key(bridge.port, path) == 401
        for path in ("/v1/models", "/v1/tools", "/v1/files", f"/v1/responses/{KEPT}1"):
            assert _bad_key(bridge.port, path, "GET") == 401

    assert _told(bridge, ask_everywhere) == {"invalid_api_key": 9}


def test_limits_budgets_and_models_are_counted_by_a_word_each(bridge: Bridged, upstream: RawUpstream) -> None:
    often, poor = make_key(bridge.port, rpm=1), make_key(bridge.port, budget="0.001/1d")
    much, narrow = make_key(bridge.port, tpm=18), make_key(bridge.port, models=["gpt-*"])

    def ask_too_much() -> None:
        for key, statuses in ((often, [200, 429, 429]), (poor, [200, 429]), (much, [200, 429])):
            assert [ask(bridge.port, [bearer(key)]).status for _ in statuses] == statuses
        passed = send(bridge.port, b'{"model": "m-1"}', [JSON_TYPE, bearer(narrow)], path="/v1/embeddings")
        assert ask(bridge.port, [bearer(narrow)]).status == passed.status == 403
        assert ask(bridge.port).status == 200, "a request that is served is no refusal"

    told = _told(bridge, ask_too_much)
    assert told == {"requests": 2, "budget": 1, "tokens": 1, "model_not_allowed": 2}


def test_a_missing_key_and_a_wrong_admin_are_counted(strict: Bridged) -> None:
    def ask_without() -> None:
        assert ask(strict.port).status == 401
        assert send(strict.port, path="/v1/files?key=sk-aib-a-b").status == 401
        assert api(strict.port, "GET", "/keys").status == 401
        assert (
            api(strict.port, "GET", "/weather", headers=(("authorization", "Bearer the-admin"),)).status
            == 404
        )

    assert _told(strict, ask_without) == {"no_key": 1, "key_in_url": 1, "no_admin_key": 1}


def test_what_an_upstream_refuses_is_not_ours(bridge: Bridged, upstream: RawUpstream) -> None:
    upstream.answer = lambda talk: talk.send(b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n")
    assert _told(bridge, lambda: ask(bridge.port)) == {}


def test_the_log_says_the_same_whichever_worker_refused(tmp_path: Path, upstream: RawUpstream) -> None:
    config = {
        "server": {"workers": 2},
        "upstreams": {"up": {"base_url": upstream.base_url}},
        "telemetry": {"log": {"format": "json"}},
    }
    with Bridge(tmp_path, config) as bridge:
        key = make_key(bridge.port, "the team's", rpm=1)
        # Until a second has passed the other worker may not know the key: then it refuses another way.
        eventually(lambda: ask(bridge.port, [bearer(key)]).status == 200, what="the key")
        statuses = Counter(ask(bridge.port, [bearer(key)]).status for _ in range(8))
        statuses += Counter(_bad_key(bridge.port, "/v1/models", "GET") for _ in range(4))
        counted = refusals(bridge.port)
        lines = [json.loads(line) for line in bridge.log.splitlines() if line.startswith("{")]
    logged = [line for line in lines if line["event"] == "a request was refused"]
    assert counted == Counter(line["reason"] for line in logged)
    assert set(counted) == {"requests", "invalid_api_key"} and counted["requests"] == statuses[429]
    assert {line["status"] for line in logged} == {401, 429}
    assert key["key"] not in bridge.log and "sk-aib-abcdefghijkm" not in bridge.log
