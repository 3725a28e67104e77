"""The accumulators of OpenAI's own SDKs as judges of what a client got."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai

from tests.bridge.stage import Seen
from tests.support.environment import END_TO_END, NODE_MODULES, NPM_CI, clean_env, needs

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Understood:
    """What an SDK made of a response."""

    text: str
    calls: list[tuple[str, str, str]]
    """Id, name, arguments."""
    finish_reason: str | None
    usage: tuple[int, int] | None

    @classmethod
    def of(cls, completion: Json) -> "Understood":
        """What a completion says."""
        choice = completion["choices"][0]
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in choice["message"].get("tool_calls") or ()
        ]
        used = completion.get("usage")
        usage = (used["prompt_tokens"], used["completion_tokens"]) if used else None
        return cls(choice["message"].get("content") or "", calls, choice["finish_reason"], usage)


class OpenAIPython:
    """openai-python, given one response after the other."""

    def __init__(self) -> None:
        self._seen = Seen([], [])
        transport = httpx2.MockTransport(lambda request: self._response())
        http = httpx2.Client(transport=transport, trust_env=False)
        self._client = openai.OpenAI(
            base_url="http://bridge/v1", api_key="dummy", max_retries=0, http_client=http
        )

    def _response(self) -> httpx2.Response:
        headers = {key: value for key, value in self._seen.headers.items() if key != "content-length"}
        return httpx2.Response(self._seen.status, headers=headers, content=self._seen.body)

    def accumulates(self, seen: Seen, request: Json) -> Understood:
        """What `.stream()`, or `create` where that was asked, makes of it; raises openai.APIError."""
        self._seen = seen
        asked = {key: value for key, value in request.items() if key != "stream"}
        if not request.get("stream"):
            return Understood.of(self._client.chat.completions.create(**asked).model_dump())
        with self._client.chat.completions.stream(**asked) as stream:
            for _ in stream:
                pass
            return Understood.of(stream.get_final_completion().model_dump())

    def iterates(self, seen: Seen, request: Json) -> str:
        """The text that a plain loop over the stream reads; raises openai.APIError."""
        self._seen = seen
        text = ""
        chunks: Any = self._client.chat.completions.create(**request)
        for chunk in chunks:
            for choice in chunk.choices:
                text += choice.delta.content or ""
        return text


def openai_node(responses: Sequence[tuple[Seen, Json]], folder: Path) -> list[Json]:
    """What openai-node makes of each response, all in one process: a completion or an error."""
    program = needs("node", "install Node.js 20 or newer")
    needs(NODE_MODULES / "openai", NPM_CI)
    cases = [
        {"status": seen.status, "headers": seen.headers, "body": seen.body.decode(), "request": request}
        for seen, request in responses
    ]
    file = folder / "responses.json"
    file.write_text(json.dumps(cases))
    done = subprocess.run(
        [program, END_TO_END / "js" / "accumulate.mjs", file],
        env=clean_env(folder / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: list[Json] = json.loads(done.stdout)
    return told
