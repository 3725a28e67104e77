"""The OpenAI SDK for Python, sync and async: not streaming, a plain loop over a stream, and `.stream()`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.end_to_end.asking import Answer, Ask, Failed, Json, Outcome, Question, fold
from tests.end_to_end.conversations import ADD, SdkConversations, said
from tests.end_to_end.talking import (
    MIXED,
    MIXED_ANSWER,
    SHADES,
    MixedConversations,
    Said,
    Talk,
    assert_each_begins_with_the_one_before,
    assert_whole,
    looping,
    messages_of,
    recalled_turns,
)
from tests.support.bridge import Bridge
from tests.support.clients import sdk, sdk_async
from tests.support.serving import Model


def _whole(completion: Any) -> Answer:
    """What a completion of the SDK says; messages go back with the fields that were set, as the SDK does."""
    choice, usage = completion.choices[0], completion.usage
    return Answer(
        message=choice.message.model_dump(mode="json", exclude_unset=True, warnings=False),
        finish_reason=choice.finish_reason,
        usage=usage and usage.model_dump(),
        chunks=[completion.model_dump(mode="json", warnings=False)],
    )


def _dump(chunk: Any) -> Json:
    dumped: Json = chunk.model_dump(mode="json", exclude_unset=True)
    return dumped


def _create(question: Question) -> Answer:
    with sdk(question.base_url) as client:
        return _whole(client.chat.completions.create(**question.body))


def _iterate(question: Question) -> Answer:
    with sdk(question.base_url) as client:
        chunks = client.chat.completions.create(**question.body, stream=True)
        return fold([_dump(chunk) for chunk in chunks])


def _stream(question: Question) -> Answer:
    with sdk(question.base_url) as client, client.chat.completions.stream(**question.body) as stream:
        return _whole(stream.get_final_completion())


async def _create_async(question: Question) -> Answer:
    async with sdk_async(question.base_url) as client:
        return _whole(await client.chat.completions.create(**question.body))


async def _iterate_async(question: Question) -> Answer:
    async with sdk_async(question.base_url) as client:
        chunks = await client.chat.completions.create(**question.body, stream=True)
        return fold([_dump(chunk) async for chunk in chunks])


async def _stream_async(question: Question) -> Answer:
    client = sdk_async(question.base_url)
    async with client, client.chat.completions.stream(**question.body) as stream:
        return _whole(await stream.get_final_completion())


WAYS: dict[str, Ask] = {
    "create": _create,
    "iterate": _iterate,
    "stream": _stream,
    "create async": lambda question: asyncio.run(_create_async(question)),
    "iterate async": lambda question: asyncio.run(_iterate_async(question)),
    "stream async": lambda question: asyncio.run(_stream_async(question)),
}


def _outcome(way: str, question: Question) -> Outcome:
    try:
        return WAYS[way](question)
    except openai.APIStatusError as error:
        headers = dict(error.response.headers)
        return Failed(type(error).__name__, error.message, error.status_code, error.body, headers)
    except openai.APIError as error:
        return Failed(type(error).__name__, error.message, body=error.body)


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def ask(way: str) -> Ask:
    return lambda question: _outcome(way, question)


@pytest.fixture
def streams(way: str) -> bool:
    return not way.startswith("create")


@pytest.fixture
def talk(ask: Ask, bridge: Bridge) -> Talk:
    return looping(ask, bridge.base_url)


class TestOpenAIPython(SdkConversations, MixedConversations):
    """All conversations, with the SDK for Python."""


def test_a_client_that_comes_back_after_a_restart_is_served_alike(model: Model, tmp_path: Path) -> None:
    demo = {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}
    config = {"upstreams": {"scripted": {"base_url": model.base_url}}, "mcp_servers": {"demo": demo}}
    with Bridge(tmp_path, config) as bridge:

        def colour(shade: str) -> str:
            _restart(bridge)
            return SHADES[shade]

        talk = looping(WAYS["stream"], bridge.base_url, colour)
        assert talk(MIXED) == Said(MIXED_ANSWER, ["dark"])
        _restart(bridge)
        assert talk("say Bye.") == Said("Bye.", [])
        assert recalled_turns(bridge, model) == [0, 1, 1]
    asked = messages_of(model)
    assert_whole(asked[1], ("add", "3"), ("colour", "navy"), ("weather", "rain, -4 °C in Oslo"))
    assert_each_begins_with_the_one_before(asked)


def _restart(bridge: Bridge) -> None:
    bridge.stop()
    bridge.start()


def test_the_exchange_is_in_the_records(bridge: Bridge, model: Model) -> None:
    with sdk(bridge.base_url) as client:
        raw = client.chat.completions.with_raw_response.create(**_question(bridge, ADD).body)
    exchange = raw.headers["x-aibridge-exchange-id"]
    record = bridge.ended(exchange)
    assert (record["status"], record["http_status"], record["rounds"]) == ("completed", 200, 2)
    [call] = bridge.rows("tool_calls", exchange)
    assert (call["server"], call["tool"], call["status"]) == ("demo", "add", "ok")
    rounds = bridge.rows("token_usages", exchange)
    asked = [each.usage or {} for each in model.asked]
    assert [each["input"] for each in rounds] == [usage["prompt_tokens"] for usage in asked]
    assert [each["output"] for each in rounds] == [usage["completion_tokens"] for usage in asked]


def test_an_answer_seen_whole_is_recorded_even_after_sigkill(model: Model, tmp_path: Path) -> None:
    with Bridge(tmp_path, {"upstreams": {"scripted": {"base_url": model.base_url}}}) as bridge:
        answer = _iterate(_question(bridge, "count 50"))
        bridge.kill()
        assert answer.finish_reason == "stop"
        assert bridge.records()["status"] == "completed"


def _question(bridge: Bridge, text: str) -> Question:
    return Question(bridge.base_url, {"model": "scripted-1", "messages": [said(text)]})
