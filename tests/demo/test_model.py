"""Conversations with the scripted model over a real socket."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.clients import http_client
from tests.support.serving import Model
from tests.support.waiting import eventually

Json = dict[str, Any]
TOOLS = [{"type": "function", "function": {"name": f"demo__{name}"}} for name in ("add", "now")]


@pytest.fixture
def http(model: Model) -> Iterator[httpx2.Client]:
    with http_client(base_url=model.base_url) as client:
        yield client


def _body(said: str, *more: Json, **extra: Any) -> Json:
    return {"model": "scripted-1", "messages": [{"role": "user", "content": said}, *more], **extra}


def _ask(http: httpx2.Client, said: str, *more: Json, **extra: Any) -> Json:
    answer = http.post("/chat/completions", json=_body(said, *more, **extra))
    assert answer.status_code == 200, answer.text
    choice: Json = answer.json()["choices"][0]
    return choice


def _events(http: httpx2.Client, said: str, *more: Json, **extra: Any) -> list[str]:
    body = _body(said, *more, stream=True, **extra)
    with http.stream("POST", "/chat/completions", json=body) as answer:
        return [line.removeprefix("data: ") for line in answer.iter_lines() if line]


def _result(call: Json, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


def test_without_a_script_it_echoes(http: httpx2.Client) -> None:
    choice = _ask(http, "hello")
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You said: hello", "stop")


def test_a_stream_has_one_role_one_finish_reason_and_ends_with_done(http: httpx2.Client) -> None:
    *chunks, done = _events(http, "say one two three")
    parsed = [json.loads(chunk) for chunk in chunks]
    deltas = [chunk["choices"][0]["delta"] for chunk in parsed]
    assert done == "[DONE]"
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert [delta.get("content") for delta in deltas[1:]] == ["one ", "two ", "three", None]
    assert [chunk["choices"][0]["finish_reason"] for chunk in parsed] == [None, None, None, None, "stop"]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in parsed}) == 1
    assert all("usage" not in chunk for chunk in parsed)


def test_usage_comes_in_a_chunk_of_its_own_when_asked_for(http: httpx2.Client, model: Model) -> None:
    *chunks, _ = _events(http, "hello", stream_options={"include_usage": True})
    *others, last = (json.loads(chunk) for chunk in chunks)
    assert (last["choices"], last["usage"]) == ([], model.asked[0].usage)
    assert all(chunk["usage"] is None for chunk in others)


def test_calls_of_two_rounds_and_then_an_answer_that_quotes_the_results(http: httpx2.Client) -> None:
    said = 'say Wait. and call add {"a":1,"b":2} and call demo__now then call now'
    first = _ask(http, said, tools=TOOLS)
    calls = first["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["demo__add", "demo__now"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1,"b":2}', "{}"]
    assert (first["message"]["content"], first["finish_reason"]) == ("Wait.", "tool_calls")

    more = [first["message"], _result(calls[0], "3"), _result(calls[1], [{"type": "text", "text": "noon"}])]
    second = _ask(http, said, *more, tools=TOOLS)
    [again] = second["message"]["tool_calls"]
    assert second["message"]["content"] is None
    assert again["id"] not in [call["id"] for call in calls]

    last = _ask(http, said, *more, second["message"], _result(again, "one"), tools=TOOLS)
    assert last["message"]["content"] == "add answered: 3\nnow answered: noon\nnow answered: one"


def test_streamed_calls_have_an_index_and_arguments_in_pieces(http: httpx2.Client) -> None:
    *chunks, _ = _events(http, 'call add {"a":1} and call now', tools=TOOLS)
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    pieces = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert [piece["function"].get("name") for piece in pieces if "id" in piece] == ["demo__add", "demo__now"]
    first = [piece["function"]["arguments"] for piece in pieces if piece["index"] == 0]
    assert (len(first), "".join(first)) == (4, '{"a":1}')


def test_a_tool_that_was_not_offered_is_named_in_the_text(http: httpx2.Client) -> None:
    choice = _ask(http, "call nothing", tools=TOOLS)
    assert (choice["message"]["content"], choice["finish_reason"]) == (
        "No tool named nothing was offered.",
        "stop",
    )


def test_tool_choice_is_obeyed(http: httpx2.Client) -> None:
    named = {"type": "function", "function": {"name": "demo__now"}}
    forced = _ask(http, "hello", tools=TOOLS, tool_choice=named)
    assert forced["message"]["tool_calls"][0]["function"]["name"] == "demo__now"
    assert forced["finish_reason"] == "stop"
    assert "tool_calls" in _ask(http, "hello", tools=TOOLS, tool_choice="required")["message"]
    assert "tool_calls" not in _ask(http, "call now forever", tools=TOOLS, tool_choice="none")["message"]


def test_json_is_answered_where_json_is_asked_for(http: httpx2.Client) -> None:
    choice = _ask(http, "say hi", response_format={"type": "json_object"})
    assert json.loads(choice["message"]["content"]) == {"answer": "hi"}


def test_reasoning_comes_before_text(http: httpx2.Client) -> None:
    *chunks, _ = _events(http, "reason and say hi")
    keys = [next(iter(json.loads(chunk)["choices"][0]["delta"]), "") for chunk in chunks]
    assert keys.index("reasoning_content") < keys.index("content")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_failure_looks_like_openais(http: httpx2.Client, status: int) -> None:
    answer = http.post("/chat/completions", json=_body(f"fail {status}"))
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"] == f"req_failed_{status}"
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"


def test_failing_once_succeeds_the_next_time(http: httpx2.Client) -> None:
    body = _body("fail 503 once")
    assert [http.post("/chat/completions", json=body).status_code for _ in range(3)] == [503, 200, 200]


@pytest.mark.parametrize("stream", [True, False])
def test_a_break_cuts_the_connection_after_some_text(http: httpx2.Client, stream: bool) -> None:
    body = _body("count 8 and break", stream=stream)
    with http.stream("POST", "/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        came = bytearray()
        with pytest.raises(httpx2.RemoteProtocolError):
            for piece in answer.iter_raw():
                came += piece
    assert came
    assert b"[DONE]" not in came


def test_an_error_in_the_middle_ends_the_stream_without_done(http: httpx2.Client) -> None:
    *chunks, last = _events(http, "count 8 and error mid-stream")
    assert json.loads(last)["error"]["type"] == "server_error"
    assert '"content":"1 "' in chunks[1]


def test_a_client_that_leaves_is_noticed(http: httpx2.Client, model: Model) -> None:
    with http.stream("POST", "/chat/completions", json=_body("count 9 and slow 9999", stream=True)) as answer:
        next(answer.iter_raw())
    eventually(lambda: model.asked[0].left, what="the end of the stream")


def test_an_invalid_request_is_refused_and_kept(http: httpx2.Client, model: Model) -> None:
    answer = http.post("/chat/completions", json={"model": "m", "messages": []})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
    assert http.post("/chat/completions", content=b"{").status_code == 400
    assert [each.status for each in model.asked] == [400, 400]


def test_the_log_is_shown_and_forgotten(http: httpx2.Client, model: Model) -> None:
    http.post("/chat/completions", json=_body("hello"), headers={"x-trace": "7"})
    [entry] = http.get(f"{model.url}/_asked").json()
    assert (entry["body"], entry["headers"]["x-trace"], entry["round"]) == (_body("hello"), "7", 1)
    assert http.delete(f"{model.url}/_asked").json() == []


def test_models_are_listed_and_other_paths_are_not_found(http: httpx2.Client) -> None:
    assert [each["id"] for each in http.get("/models").json()["data"]] == ["scripted-1", "scripted-mini"]
    assert http.get("/nothing").json()["error"]["code"] == "model_not_found"
