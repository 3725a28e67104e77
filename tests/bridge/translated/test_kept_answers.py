"""Answers of an upstream that keeps none, read again and deleted by their ids: as their client saw them."""

from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.bridge.translated.asking import client
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.chatting import Chatting, calling, chatting, saying

Json = dict[str, Any]
SHELL: Any = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}


def _told_the_time(body: Json) -> list[Json]:
    """Asks for the time first, with a word before."""
    if body["messages"][-1]["role"] == "tool":
        return saying("It is ", body["messages"][-1]["content"])
    return calling(("c1", "clock__now", '{"city": "Oslo"}'), text="Let me see.")


def _both(body: Json) -> list[Json]:
    """Asks for the time and for the shell in one turn."""
    return calling(("c1", "clock__now", '{"city": "Oslo"}'), ("c2", "shell", "{}"), text="both")


def _get(bridge: Bridged, path: str, method: str = "GET") -> httpx2.Response:
    headers = {"authorization": "Bearer one"}
    return httpx2.request(method, f"{bridge.url}/v1/responses/{path}", headers=headers, trust_env=False)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("script", [lambda body: saying("Hello"), _told_the_time, _both])
def test_an_answer_is_read_again_as_its_client_saw_it(
    bridge: Bridged, says: Chatting, script: Any, streamed: bool
) -> None:
    says.script = script
    asked: Json = {"model": "m-1", "input": "go", "tools": [SHELL], "metadata": {"a": "b"}}
    sdk = client(bridge)
    if streamed:
        *_, last = sdk.responses.create(**asked, stream=True)
        assert last.type == "response.completed"
        seen = last.response
    else:
        seen = sdk.responses.create(**asked)
    again = sdk.responses.retrieve(seen.id)
    assert again.to_dict() == seen.to_dict()
    assert "clock__now" not in again.to_json()


def test_what_a_request_brought_is_listed_without_what_was_hidden(bridge: Bridged, says: Chatting) -> None:
    says.script = _told_the_time
    sdk = client(bridge)
    given: Any = [
        {"role": "user", "content": "one"},
        {
            "type": "message",
            "id": "msg_own",
            "role": "user",
            "content": [{"type": "input_text", "text": "2"}],
        },
        {"type": "function_call", "call_id": "c9", "name": "shell", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c9", "output": "ran"},
    ]
    answer = sdk.responses.create(model="m-1", input=given, tools=[SHELL])
    items: list[Any] = list(sdk.responses.input_items.list(answer.id, order="asc", limit=3))
    assert [item.type for item in items] == ["message", "message", "function_call", "function_call_output"]
    assert [part.text for item in items[:2] for part in item.content] == ["one", "2"]
    assert items[1].id == "msg_own" and len({item.id for item in items}) == 4
    newest = sdk.responses.input_items.list(answer.id, limit=1)
    assert (newest.data[0].id, newest.has_more) == (items[3].id, True)
    text = sdk.responses.create(model="m-1", input="hi")
    [message] = sdk.responses.input_items.list(text.id).data
    assert message.to_dict()["content"] == [{"type": "input_text", "text": "hi"}]


def test_a_deleted_answer_is_gone_with_all_that_it_was_made_of(bridge: Bridged, says: Chatting) -> None:
    says.script = _told_the_time
    sdk = client(bridge)
    before = bridge.rows("answer_ids")
    answer = sdk.responses.create(model="m-1", input="time?")
    kept = sdk.responses.create(model="m-1", input="time?", store=False)
    reference: Any = {"type": "item_reference", "id": answer.output[-1].id}
    deleted = _get(bridge, answer.id, "DELETE")
    assert deleted.json() == {"id": answer.id, "object": "response", "deleted": True}
    left = [row for row in bridge.rows("answer_ids") if row not in before]
    assert [row["id"] for row in left] == [answer.id], "where it led, and nothing that was said"
    for id_ in (answer.id, kept.id):
        with pytest.raises(openai.NotFoundError, match=f"Response with id '{id_}' not found"):
            sdk.responses.retrieve(id_)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.delete(id_)
    with pytest.raises(openai.BadRequestError, match="not found"):
        sdk.responses.create(model="m-1", input="x", previous_response_id=answer.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        sdk.responses.create(model="m-1", input=[reference])


def test_nobody_else_reads_or_deletes_it(bridge: Bridged, says: Chatting) -> None:
    answer = client(bridge).responses.create(model="m-1", input="one")
    other = client(bridge, "two").responses
    for ask in (other.retrieve, other.delete, other.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(answer.id)
    assert client(bridge).responses.retrieve(answer.id).output_text == "Hello"


def test_it_is_read_after_a_restart(tmp_path: Path) -> None:
    with chatting() as model:
        config = configuration(tmp_path, f"http://127.0.0.1:{model.port}/v1")
        config["upstreams"]["up"]["apis"] = ["chat_completions"]
        with bridged(tmp_path, config) as bridge:
            answer = client(bridge).responses.create(model="m-1", input="one")
        with bridged(tmp_path, config) as bridge:
            assert client(bridge).responses.retrieve(answer.id).output_text == "Hello"
            assert model.asked and len(model.asked) == 1


@pytest.mark.parametrize(
    ("path", "method", "says_why"),
    [
        ("?stream=true", "GET", "not made in the background"),
        ("/cancel", "POST", "cannot be cancelled"),
        ("/input_items?limit=0", "GET", "from 1 to 100"),
        ("/input_items?limit=x", "GET", "from 1 to 100"),
    ],
)
def test_what_it_cannot_do_is_said(
    bridge: Bridged, says: Chatting, path: str, method: str, says_why: str
) -> None:
    answer = client(bridge).responses.create(model="m-1", input="one")
    told = _get(bridge, f"{answer.id}{path}", method)
    assert told.status_code == 400
    assert says_why in told.json()["error"]["message"]


def test_other_words_below_it_are_no_routes(bridge: Bridged, says: Chatting) -> None:
    answer = client(bridge).responses.create(model="m-1", input="one")
    for method, path in (("GET", "/others"), ("PUT", ""), ("DELETE", "/input_items")):
        assert _get(bridge, f"{answer.id}{path}", method).status_code == 404
    assert client(bridge).responses.retrieve(answer.id).output_text == "Hello"
