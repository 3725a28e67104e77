"""A user of the OpenAI SDK does not notice that an upstream fails, whatever way it does."""

import json
import sys
from pathlib import Path

from openai import OpenAI

from tests.support.bridge import Bridge, Json
from tests.support.clients import sdk
from tests.support.raw import raw_upstream
from tests.support.serving import Model
from tests.upstreams.scripted import (
    Step,
    cut_before_the_first_byte,
    empty,
    hang_up,
    refusal,
    script,
)

QUESTION: Json = {
    "model": "gpt-5",
    "messages": [{"role": "user", "content": 'call add {"a": 19, "b": 23}'}],
}
DEMO = {"demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}}
WAYS: tuple[Step, ...] = (
    refusal(500),
    hang_up,
    cut_before_the_first_byte,
    refusal(429, retry_after="60"),
    empty,
    refusal(401),
)


def test_an_sdks_stream_fails_over_without_a_word(tmp_path: Path, model: Model) -> None:
    with raw_upstream(script(*WAYS, hang_up)) as broken:
        first = {"base_url": broken.base_url, "api_key": "sk-1", "retries": 0, "fallback": ["good"]}
        config = {
            "upstreams": {"broken": first, "good": {"base_url": model.base_url, "api_key": "sk-2"}},
            "mcp_servers": DEMO,
        }
        with (
            Bridge(tmp_path, config) as bridge,
            sdk(bridge.base_url) as client,
        ):
            texts = [_streamed(client) for _ in range(len(WAYS) + 2)]
            bridge.ended()
            rows = bridge.rows("exchanges")
            story = bridge.records()
            health = bridge.readiness()["upstreams"]["broken"]
            log = bridge.log
    assert texts == ["add answered: 42"] * len(texts)
    assert {(row["upstream"], row["status"], row["rounds"]) for row in rows} == {("good", "completed", 2)}
    assert story["failed_attempts"][0]["upstream"] == "broken"
    assert sum(health["failures"].values()) == len(texts)
    assert "sk-1" not in log and "sk-1" not in json.dumps(health)


def _streamed(client: OpenAI) -> str:
    """The text of one streamed answer, whose shape is whole."""
    with client.chat.completions.stream(**QUESTION) as stream:
        list(stream)
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "stop" and not choice.message.tool_calls
    return choice.message.content or ""
