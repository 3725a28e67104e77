"""One trace an exchange, at a collector: the exchange, its rounds, its calls, in the caller's own trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer

from aibridge.demo.tools import create_server
from aibridge.facts import ExchangeEnded, ExchangeStarted, RoundEnded
from aibridge.nouns import Caller, Usage
from aibridge.telemetry.tracing import Traces
from tests.support.bridged import bridged, configuration
from tests.support.raw import JSON_TYPE, Talk, answer_plainly, ask, raw_upstream, send, whole
from tests.support.serving import Model
from tests.telemetry.collector import Collector, collector
from tests.upstreams.scripted import refusal

CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, PARENT = CALLERS.split("-")[1:3]
SERVER, CLIENT, INTERNAL = 2, 3, 1
SCRIPT = 'call add {"a": 1, "b": 2} then say three'


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def told(
    text: str, *, traceparent: str | None = CALLERS
) -> tuple[list[dict[str, str]], list[tuple[str, str]]]:
    headers = [JSON_TYPE] + ([("traceparent", traceparent)] if traceparent else [])
    return [{"role": "user", "content": text}], headers


def test_an_exchange_is_one_trace_in_that_of_its_caller(
    tmp_path: Path, model: Model, spans: Collector
) -> None:
    messages, headers = told(SCRIPT)
    with bridged(tmp_path, configuration(tmp_path, model.base_url), {"demo": create_server()}) as bridge:
        assert ask(bridge.port, headers, messages=messages).status == 200
        row = bridge.ended()
    assert {span.trace for span in spans.spans} == {TRACE}
    (root,), chats, (call,) = spans.named("POST"), spans.named("chat"), spans.named("execute_tool")
    assert (root.name, root.kind, root.parent) == ("POST /v1/chat/completions", SERVER, PARENT)
    assert root.attributes["aibridge.exchange.id"] == row["id"]
    assert root.attributes["http.response.status_code"] == 200 and root.service == "aibridge"
    assert {each.parent for each in (*chats, call)} == {root.id}
    assert [(each.kind, each.attributes["gen_ai.operation.name"]) for each in chats] == [(CLIENT, "chat")] * 2
    usages = bridge_usages(tmp_path)
    assert [each.attributes["gen_ai.usage.output_tokens"] for each in chats] == usages
    assert (call.name, call.kind) == ("execute_tool demo__add", INTERNAL)
    assert "gen_ai.tool.call.arguments" not in call.attributes, "content is told on request only"
    assert all(span.seconds >= 0 for span in spans.spans)


def bridge_usages(folder: Path) -> list[int]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "aibridge.db")) as database:
        return [row[0] for row in database.execute("SELECT output FROM token_usages ORDER BY round")]


def test_the_upstream_and_the_mcp_server_are_told_their_place(
    tmp_path: Path, model: Model, spans: Collector
) -> None:
    places: list[str] = []
    server = MCPServer("demo", log_level="WARNING")

    async def add(a: int, b: int, context: Context) -> str:
        """Add."""
        meta = context.request_context.meta
        places.append(json.dumps(dict(meta or {})))
        return str(a + b)

    server.add_tool(add)
    messages, headers = told(SCRIPT)
    with bridged(tmp_path, configuration(tmp_path, model.base_url), {"demo": server}) as bridge:
        assert ask(bridge.port, headers, messages=messages).status == 200
    chats, (call,) = spans.named("chat"), spans.named("execute_tool")
    received = [asked.headers["traceparent"] for asked in model.asked]
    assert received == [f"00-{TRACE}-{each.id}-01" for each in chats]
    assert len(places) == 1 and f"00-{TRACE}-" in places[0]
    assert call.attributes["aibridge.mcp.server"] == "demo"


def test_without_a_caller_s_trace_the_exchange_s_id_is_its_own(
    tmp_path: Path, model: Model, spans: Collector
) -> None:
    messages, headers = told("say hello", traceparent="00-nonsense")
    with bridged(tmp_path, configuration(tmp_path, model.base_url)) as bridge:
        got = ask(bridge.port, headers, messages=messages)
    (root,) = spans.named("POST")
    assert root.trace == str(got.header("x-aibridge-exchange-id")).replace("-", "") and not root.parent


def test_a_trace_that_its_caller_does_not_sample_is_handed_on_and_not_told(
    tmp_path: Path, model: Model, spans: Collector
) -> None:
    messages, headers = told("say hello", traceparent=CALLERS[:-2] + "00")
    with bridged(tmp_path, configuration(tmp_path, model.base_url)) as bridge:
        assert ask(bridge.port, headers, messages=messages).status == 200
    assert spans.spans == []
    (asked,) = model.asked
    assert asked.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert asked.headers["traceparent"].endswith("-00") and PARENT not in asked.headers["traceparent"]


def test_failed_attempts_and_failures_are_told(tmp_path: Path, spans: Collector) -> None:
    def fail(talk: Talk) -> None:
        talk.send(refusal(500, retry_after_ms="1")) if talk.number < 2 else answer_plainly(talk)

    with raw_upstream(fail) as flaky, bridged(tmp_path, configuration(tmp_path, flaky.base_url)) as bridge:
        assert ask(bridge.port).status == 200
    (chat,) = spans.named("chat")
    assert chat.events == ["aibridge.attempt_failed"] * 2 and not chat.error
    spans.spans.clear()
    config = configuration(tmp_path, "http://127.0.0.1:9/v1")
    config["upstreams"]["up"]["retries"] = 0
    with bridged(tmp_path, config) as bridge:
        assert ask(bridge.port).status == 502
    (root,), (chat,) = spans.named("POST"), spans.named("chat")
    assert root.attributes["error.type"] == chat.attributes["error.type"] == "upstream_unreachable"
    assert root.error and chat.error


def test_content_is_told_where_it_is_wanted_and_secrets_in_it_are_masked(
    tmp_path: Path, model: Model, spans: Collector
) -> None:
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    config = configuration(tmp_path, model.base_url, telemetry={"capture_content": True})
    messages, headers = told(f"{SCRIPT} {secret}")
    with bridged(tmp_path, config, {"demo": create_server()}) as bridge:
        assert ask(bridge.port, headers, messages=messages).status == 200
    (root,), (call,) = spans.named("POST"), spans.named("execute_tool")
    assert json.loads(call.attributes["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
    assert call.attributes["gen_ai.tool.call.result"] == "3"
    [message] = json.loads(root.attributes["gen_ai.input.messages"])
    assert message["parts"][0]["content"].startswith(SCRIPT)
    assert secret not in repr(spans.spans)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/files"])
def test_what_is_passed_through_is_traced(tmp_path: Path, model: Model, spans: Collector, path: str) -> None:
    with bridged(tmp_path, configuration(tmp_path, model.base_url)) as bridge:
        headers = [JSON_TYPE, ("traceparent", CALLERS)]
        got = send(bridge.port, b'{"model": "m", "input": "x"}', headers, path=path)
        row = bridge.ended()
    root, asked = sorted(spans.named("passthrough"), key=lambda span: span.kind)
    assert (root.kind, asked.kind) == (SERVER, CLIENT)
    assert (root.trace, root.parent, asked.parent) == (TRACE, PARENT, root.id)
    [received] = [each.headers["traceparent"] for each in model.app.state.asked]
    assert received == f"00-{TRACE}-{asked.id}-01"
    assert bool(asked.error) == (got.status >= 400) == (row["status"] == "failed")
    assert "gen_ai.operation.name" not in asked.attributes, "it may be no chat"


def test_what_ends_well_without_usage_is_no_failure(tmp_path: Path, spans: Collector) -> None:
    def plain(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")

    with raw_upstream(plain) as one, bridged(tmp_path, configuration(tmp_path, one.base_url)) as bridge:
        assert send(bridge.port, b"{}", path="/v1/files").status == 200
    assert [(span.name, span.error) for span in spans.spans] == [("passthrough", "")] * 2


def test_without_a_collector_nothing_is_traced_and_headers_pass(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    messages, headers = told("say hello")
    with bridged(tmp_path, configuration(tmp_path, model.base_url)) as bridge:
        assert ask(bridge.port, headers, messages=messages).status == 200
        assert bridge.app.rooms().bridge.tracing([], bridge.ended()["id"]) is None
    (asked,) = model.asked
    assert asked.headers["traceparent"] == CALLERS


def test_a_collector_that_is_away_holds_nobody_up(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    messages, headers = told("say hello")
    with bridged(tmp_path, configuration(tmp_path, model.base_url)) as bridge:
        assert ask(bridge.port, headers, messages=messages).status == 200
        assert bridge.ended()["status"] == "completed"


def test_what_utf_8_cannot_carry_does_not_keep_spans_from_the_collector(
    tmp_path: Path, spans: Collector
) -> None:
    lone = "\ud800"
    call = {
        "id": lone,
        "type": "function",
        "function": {"name": "demo__add", "arguments": '{"a": 1, "b": 2}'},
    }
    messages: list[dict[str, Any]] = [{"content": None, "tool_calls": [call]}, {"content": "three"}]

    def answer(talk: Talk) -> None:
        message = {"role": "assistant", **messages[talk.number]}
        choices = [{"index": 0, "message": message, "finish_reason": f"stop{lone}"}]
        talk.send(whole(json.dumps({"id": lone, "model": f"m{lone}", "choices": choices}).encode()))

    with (
        raw_upstream(answer) as upstream,
        bridged(tmp_path, configuration(tmp_path, upstream.base_url), {"demo": create_server()}) as bridge,
    ):
        assert ask(bridge.port).status == 200
        assert bridge.ended()["status"] == "completed"
    (chat, last), (called,) = spans.named("chat"), spans.named("execute_tool")
    assert chat.attributes["gen_ai.response.model"] == last.attributes["gen_ai.response.model"] == "m?"
    assert (chat.attributes["gen_ai.response.id"], called.attributes["gen_ai.tool.call.id"]) == ("?", "?")
    assert len(spans.named("POST")) == 1


def test_a_name_that_utf_8_cannot_carry_does_not_lose_the_whole_batch(spans: Collector) -> None:
    traces = Traces(content=False, mask=str)
    for number, model in enumerate(["m\ud800", "m-1"]):
        name = f"e-{number}"
        trace = traces.begin((), f"0000000000000000000000000000000{number}")
        asked = Caller("anonymous"), "chat", "/", model, "up"
        started = ExchangeStarted(name, 0.0, *asked, streamed=True, injected_tools=0, trace=trace)
        traces(started)
        traces(RoundEnded(name, 1, Usage(), asked=model))
        traces(ExchangeEnded(name, 1.0, "failed", 502, 1, 1, error_message=model))
    traces.close()
    assert [span.name for span in spans.named("chat")] == ["chat m?", "chat m-1"]
