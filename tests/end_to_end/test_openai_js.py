"""The OpenAI SDK for JavaScript: not streaming, a plain loop over a stream, and `.stream()`."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.asking import Answer, Ask, Failed, Json, Outcome, Question, fold
from tests.end_to_end.conversations import SdkConversations
from tests.end_to_end.talking import MixedConversations, Talk, looping
from tests.support.bridge import Bridge
from tests.support.environment import END_TO_END, NODE_MODULES, NPM_CI, clean_env, needs

WAYS = ("create", "iterate", "stream")


class Node:
    """A node process that asks for us, one question at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, way: str, question: Question) -> Outcome:
        """Ask, and read what the SDK made of the answer."""
        told: Json = self._exchange({"way": way, "base_url": question.base_url, "body": question.body})
        if "failed" in told:
            return Failed(**told["failed"])
        if "completion" not in told:
            return fold(told["chunks"])
        completion = told["completion"]
        choice = completion["choices"][0]
        chunks = told.get("chunks", [completion])
        return Answer(choice["message"], choice["finish_reason"], completion.get("usage"), chunks)

    def _exchange(self, case: Json) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    program = needs("node", "install Node.js 20 or newer")
    needs(NODE_MODULES / "openai", NPM_CI)
    with subprocess.Popen(
        [program, END_TO_END / "js" / "ask.mjs"],
        env=clean_env(tmp_path_factory.mktemp("home")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Node(process)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def ask(way: str, node: Node) -> Ask:
    return lambda question: node.ask(way, question)


@pytest.fixture
def streams(way: str) -> bool:
    return way != "create"


@pytest.fixture
def talk(ask: Ask, bridge: Bridge) -> Talk:
    return looping(ask, bridge.base_url)


class TestOpenAIJavaScript(SdkConversations, MixedConversations):
    """All conversations, with the SDK for JavaScript."""
